"""What holds for every transport of a broker, beyond the conformance suite, on each of them.

Their options, their secrets, their logins and refusals, and that they close. ``kinds`` says
what a test has to know of a broker: a new transport adds a file there, and no test. What only
one of them has is in a folder of its own, such as ``tests/redis``.
"""
