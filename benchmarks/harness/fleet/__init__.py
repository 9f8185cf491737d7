"""Several instances of a server over one Redis: what joins them, and what that costs."""
