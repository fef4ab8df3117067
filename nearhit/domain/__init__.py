"""Domain: what a question, a scope, an entry, a fill and an outcome are, and what makes a hit. Pure."""
