"""The loop as it runs: looked at once for all who watch, kept as series for charts, told to Prometheus."""
