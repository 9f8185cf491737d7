"""Fuzzing with a second opinion: makers of cases, slow references, and what compares the two.

Shared by the tests of this folder and by ``tools/fuzz.py``, so that a long run and
CI cannot drift apart. Every maker takes a ``random.Random``: a seeded one in long
runs, Hypothesis's own in the tests, which then shrinks what it finds.
"""
