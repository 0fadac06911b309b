"""The stream processor: raw records in, predictions and proposals out.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.stream.models import ActiveModel as ActiveModel
    from tidemark.stream.models import ModelSource as ModelSource
    from tidemark.stream.processor import StreamProcessor as StreamProcessor

_MODULE_OF = {
    "ActiveModel": "tidemark.stream.models",
    "ModelSource": "tidemark.stream.models",
    "StreamProcessor": "tidemark.stream.processor",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.stream' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
