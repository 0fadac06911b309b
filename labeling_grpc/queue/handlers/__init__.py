"""One module for each kind of command: what it does to the queue."""
