"""Demo: a made-up product's questions, rewordings, traps and strangers, for watching the cache at work."""
