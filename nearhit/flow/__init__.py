"""Flows: decisions as generators, and the runners that do for them what needs the network."""
