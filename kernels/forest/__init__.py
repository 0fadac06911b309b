"""LightGBM forests: read from their text once, predicted and explained without LightGBM."""
