"""Choosing k of n with known probabilities, and what such a sample says of the whole."""
