"""Transports by themselves, without rooms or clients, beside the libraries below them."""
