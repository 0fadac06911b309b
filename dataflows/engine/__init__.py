"""What runs a flow: the task of a worker, its consumer group, transactions, and what guards them."""
