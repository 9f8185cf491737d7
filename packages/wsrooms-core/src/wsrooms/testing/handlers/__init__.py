"""One handler alone: a context for it, without server, loop or transport.

============  ================================================================
``contexts``  what a test uses
``stage``     the instance behind it, and connections that keep what they are sent
============  ================================================================
"""
