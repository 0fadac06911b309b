"""Features: cleaning, expressions and windows."""
