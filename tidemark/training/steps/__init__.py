"""The steps of the retrain flow: labels checked, models learnt from them."""

from tidemark.training.steps.check_labels import CheckedLabels, CheckLabelsStep
from tidemark.training.steps.learn import LearnStep

__all__ = ["CheckLabelsStep", "CheckedLabels", "LearnStep"]
