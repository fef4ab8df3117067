"""Builders and waits shared by tests."""
