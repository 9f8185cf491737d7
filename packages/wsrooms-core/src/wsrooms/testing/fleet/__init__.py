"""Several instances of an app in one process, on a bus that a test can break.

=============  ===============================================================
``cluster``    what a test uses: the instances, their clients, their end
``recorder``   clients that write the history of a run, of a cluster or anywhere
``bus``        the simulated broker and what can be done to it
``simulated``  one instance's transport on it: its end of the link
``schedule``   what is yet to happen, by the bus's own time or the loop's
=============  ===============================================================
"""
