"""Telemetry: metrics, and how they are exposed."""
