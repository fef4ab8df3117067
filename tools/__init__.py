"""Tools: programs that developers run in the repository."""
