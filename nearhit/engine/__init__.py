"""Index engines: one face, two ways to search."""
