"""The family of learners that `training.learner` may name."""
