"""Which rows to ask about together: unlike each other, and like what is to come."""
