"""Index: the two engines, opening, loss and rotation."""
