"""Layouts: entries in the form that another program reads and writes."""
