"""Judge: the second stage after threshold and guard. Off by default."""
