"""Tables of the queue's database: what the queue, its stores and the tokens read and write."""
