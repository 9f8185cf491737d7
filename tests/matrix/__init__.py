"""The matrix: every scenario of the suites on every transport, its result, and what was counted.

``columns``   what is run: a transport, its server, and which code it rests on
``plugin``    the side of pytest: which tests are a column's, and a line for each that has ended
``running``   the columns side by side, each in a process of its own
``record``    what is kept of them: ``docs/matrix.json``
``page``      ``docs/matrix.md``, drawn from the record
``promises``  the table of ``docs/guarantees.md`` that leads from promises to scenarios
``checking``  whether all of it is complete, and no older than the code

``python -m tests.matrix --help`` tells how it is run.
"""
