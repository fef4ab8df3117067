"""Judge: the second stage, which is asked about a neighbour that threshold and guard have accepted. Off by default."""
