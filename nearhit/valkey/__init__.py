"""Valkey: addresses, connections, key names, commands and replies."""
