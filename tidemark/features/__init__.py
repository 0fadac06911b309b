"""Features: cleaning, expressions and windows; and the offline computation that they are checked against.

The name is imported on first use: `segments` is needed by commands that compute no feature.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.features.backfill import backfill as backfill

_MODULE_OF = {
    "backfill": "tidemark.features.backfill",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (the type is the module's)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.features' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
