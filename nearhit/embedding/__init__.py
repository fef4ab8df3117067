"""Embedders: ports, models and the vectors they give."""
