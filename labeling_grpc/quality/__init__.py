"""How good annotators are, and what follows from it."""
