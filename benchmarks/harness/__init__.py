"""The harness behind ``make bench``; ``cli.py`` is where it starts."""
