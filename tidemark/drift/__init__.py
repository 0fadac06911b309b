"""Drift: whether what comes is still what came before, and how good the model is on it.

docs/explanation/drift.md says by what tests, and how often they err.
"""
