"""What helps a person to answer: the model in force, the order of what waits, similar labeled cases."""
