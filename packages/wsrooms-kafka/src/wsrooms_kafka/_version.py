"""The version of this distribution: the same as the core's, which a test holds them to."""

__version__ = "0.1.0"
