"""What is done about predictions: alerts within a budget, each key once, and abstention where a person should look."""
