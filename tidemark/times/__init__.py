"""Times as texts: ISO 8601, and patterns of one's own."""
