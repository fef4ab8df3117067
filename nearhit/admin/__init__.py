"""Administration: what operators do to what is stored: invalidate, reindex, purge, thresholds."""
