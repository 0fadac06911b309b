"""What may be asked of the queue, and what is answered, as values."""
