"""The demo: the whole loop on a simulated stream, watched live, with a report at its end."""
