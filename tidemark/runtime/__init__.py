"""What every process of a pipeline shares: its clocks."""
