"""Answers at once: what the stream's windows and the model in force say of an event now."""

from tidemark.asking.answerer import Answer, Answerer, Asked, Refusal
from tidemark.asking.kept import KeptWindows, Standing
from tidemark.asking.recorder import Recorder

__all__ = ["Answer", "Answerer", "Asked", "KeptWindows", "Recorder", "Refusal", "Standing"]
