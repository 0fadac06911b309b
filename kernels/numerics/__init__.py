"""Arithmetic that the other kernels share: exact exponentials and logarithms, vectors, compiling, checks."""
