"""The steps of the stream flow, each a class of its own that knows neither Kafka nor Bytewax."""

from tidemark.records.dead_letters import dead_letters
from tidemark.runtime.by_topic import ByTopicStep, Received
from tidemark.stream.steps.decode import DecodeStep
from tidemark.stream.steps.map_columns import MapColumnsStep
from tidemark.stream.steps.predict import Predicted, PredictStep
from tidemark.stream.steps.propose import ProposeStep
from tidemark.stream.steps.receive import ReceiveStep
from tidemark.stream.steps.repartition import RepartitionStep
from tidemark.stream.steps.row_features import RowFeaturesStep
from tidemark.stream.steps.rule_counts import DuplicateCountsStep, RuleCountsStep, has_rules
from tidemark.stream.steps.sample import SampleStep
from tidemark.stream.steps.window_features import Featured, Windowed, WindowFeaturesStep

__all__ = [
    "ByTopicStep",
    "DecodeStep",
    "DuplicateCountsStep",
    "Featured",
    "MapColumnsStep",
    "PredictStep",
    "Predicted",
    "ProposeStep",
    "ReceiveStep",
    "Received",
    "RepartitionStep",
    "RowFeaturesStep",
    "RuleCountsStep",
    "SampleStep",
    "WindowFeaturesStep",
    "Windowed",
    "dead_letters",
    "has_rules",
]
