"""Selection: which events are worth a person's time, under a budget, and a random draw that measures the model.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.selection.processor import SelectProcessor as SelectProcessor

_MODULE_OF = {
    "SelectProcessor": "tidemark.selection.processor",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.selection' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
