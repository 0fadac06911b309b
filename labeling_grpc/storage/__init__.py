"""The databases that can hold a queue: SQLite, embedded, and PostgreSQL for several replicas."""
