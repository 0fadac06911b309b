"""Quality of a model: measures, and estimates of them from labels with a known inclusion probability."""
