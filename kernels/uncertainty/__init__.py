"""How unsure a classifier, or a committee of them, is of each row."""
