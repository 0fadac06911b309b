"""The stream processor: raw records in, predictions and proposals out.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from typing import TYPE_CHECKING

from tidemark.runtime.lazy_names import lazy_names

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

__getattr__ = lazy_names(__name__, _MODULE_OF)
