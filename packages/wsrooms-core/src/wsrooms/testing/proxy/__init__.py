"""A TCP proxy that breaks connections the ways networks and brokers do.

==========  ==================================================================
``proxy``   what a test uses: the port, the faults, the counts
``links``   one connection through it: two sockets and the bytes between them
``writes``  how often this thread has written to a socket, exactly
==========  ==================================================================
"""
