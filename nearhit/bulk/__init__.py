"""Bulk: whole files into a cache through its bulk lane, and a cache out into a file."""
