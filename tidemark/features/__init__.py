"""Features: cleaning, expressions and windows; and the offline computation that they are checked against."""
