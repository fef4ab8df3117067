"""Index: the care of what is on the server: loss, wear, another embedder, entries that must go."""
