"""Who asks, what they may see, and what every response and request must be like."""
