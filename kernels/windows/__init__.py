"""Windowed aggregates of each key, as of each event, and the sketches they are kept in."""
