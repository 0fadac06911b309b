"""Models in Kafka: how they are stored in `P.models`, what one must pass before it is served, and who serves it."""
