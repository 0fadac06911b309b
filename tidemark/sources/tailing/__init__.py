"""Files of lines that grow and are rotated: which file is which, and what of it was read."""
