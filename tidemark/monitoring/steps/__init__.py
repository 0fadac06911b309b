"""The steps of the monitor flow: records decoded, outcomes joined to predictions, labels kept, both measured."""

from tidemark.monitoring.steps.check_parity import CheckParityStep
from tidemark.monitoring.steps.decode import DecodedRows, DecodeOutcomesStep, DecodePredictionsStep
from tidemark.monitoring.steps.join_outcomes import JoinOutcomesStep
from tidemark.monitoring.steps.keep_labels import KeepLabelsStep, KeptLabels
from tidemark.monitoring.steps.label_outcomes import LabelOutcomesStep
from tidemark.monitoring.steps.measure import MeasureStep
from tidemark.monitoring.steps.watch_labels import WatchLabelsStep
from tidemark.monitoring.steps.watch_sample import WatchSampleStep

__all__ = [
    "CheckParityStep",
    "DecodeOutcomesStep",
    "DecodePredictionsStep",
    "DecodedRows",
    "JoinOutcomesStep",
    "KeepLabelsStep",
    "KeptLabels",
    "LabelOutcomesStep",
    "MeasureStep",
    "WatchLabelsStep",
    "WatchSampleStep",
]
