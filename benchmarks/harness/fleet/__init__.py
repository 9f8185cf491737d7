"""Several instances of a server over one broker: what joins them, and what that costs."""
