"""Thresholds: those that override the setting, for a namespace, a tenant or a scope, while processes run."""
