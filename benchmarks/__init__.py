"""Measures rooms: wsrooms, its peers, and the limit that the kernel sets."""
