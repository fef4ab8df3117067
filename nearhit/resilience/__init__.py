"""Resilience: backoff, circuit breaker, deadline, and values that each process makes for itself."""
