"""Read path: the lookup."""
