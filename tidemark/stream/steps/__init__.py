"""The steps of the stream flow, each a class of its own that knows neither Kafka nor Bytewax.

Most are imported on first use: flows that decode no rows need neither Polars nor the compilers of SQL and kernels.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tidemark.stream.steps.by_topic import ByTopicStep, Received
from tidemark.stream.steps.dead_letters import dead_letters

if TYPE_CHECKING:
    from tidemark.stream.steps.decode import DecodeStep as DecodeStep
    from tidemark.stream.steps.map_columns import MapColumnsStep as MapColumnsStep
    from tidemark.stream.steps.predict import Predicted as Predicted
    from tidemark.stream.steps.predict import PredictStep as PredictStep
    from tidemark.stream.steps.propose import ProposeStep as ProposeStep
    from tidemark.stream.steps.receive import ReceiveStep as ReceiveStep
    from tidemark.stream.steps.repartition import RepartitionStep as RepartitionStep
    from tidemark.stream.steps.row_features import RowFeaturesStep as RowFeaturesStep
    from tidemark.stream.steps.window_features import Featured as Featured
    from tidemark.stream.steps.window_features import Windowed as Windowed
    from tidemark.stream.steps.window_features import WindowFeaturesStep as WindowFeaturesStep

_MODULE_OF = {
    "DecodeStep": "tidemark.stream.steps.decode",
    "Featured": "tidemark.stream.steps.window_features",
    "MapColumnsStep": "tidemark.stream.steps.map_columns",
    "PredictStep": "tidemark.stream.steps.predict",
    "Predicted": "tidemark.stream.steps.predict",
    "ProposeStep": "tidemark.stream.steps.propose",
    "ReceiveStep": "tidemark.stream.steps.receive",
    "RepartitionStep": "tidemark.stream.steps.repartition",
    "RowFeaturesStep": "tidemark.stream.steps.row_features",
    "WindowFeaturesStep": "tidemark.stream.steps.window_features",
    "Windowed": "tidemark.stream.steps.window_features",
}

__all__ = [
    "ByTopicStep",
    "DecodeStep",
    "Featured",
    "MapColumnsStep",
    "PredictStep",
    "Predicted",
    "ProposeStep",
    "ReceiveStep",
    "Received",
    "RepartitionStep",
    "RowFeaturesStep",
    "WindowFeaturesStep",
    "Windowed",
    "dead_letters",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.stream.steps' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
