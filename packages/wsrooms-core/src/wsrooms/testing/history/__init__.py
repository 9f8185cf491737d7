"""The history checker: what a run did and saw, and whether every promise was kept.

Pure: no loop, no socket, no test framework, and nothing of the rest of wsrooms.

============  ================================================================
``history``   what a run is written into
``records``   one thing that happened, and a broken promise
``verdict``   all rules, one after another
``timeline``  the records as clients, rooms and messages, with when each began and ended
``ordering``  the rules of order, duplicates and what should not have come
``losses``    the rules of what is missing, and of the gaps that tell of it
============  ================================================================
"""
