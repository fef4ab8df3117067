"""Write path: a fill, from the caller to the index."""
