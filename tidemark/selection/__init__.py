"""Selection: which events are worth a person's time, under a budget, and a random draw that measures the model.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from typing import TYPE_CHECKING

from tidemark.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tidemark.selection.processor import SelectProcessor as SelectProcessor

_MODULE_OF = {
    "SelectProcessor": "tidemark.selection.processor",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)

__getattr__ = lazy_names(__name__, _MODULE_OF)
