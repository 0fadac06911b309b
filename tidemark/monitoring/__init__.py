"""Monitoring: measured quality, rates and answers, each with its interval and what it rests on.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.monitoring.options import Options as Options
    from tidemark.monitoring.processor import MonitorProcessor as MonitorProcessor

_MODULE_OF = {
    "MonitorProcessor": "tidemark.monitoring.processor",
    "Options": "tidemark.monitoring.options",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.monitoring' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
