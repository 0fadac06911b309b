"""Monitoring: measured quality, rates and answers, each with its interval and what it rests on.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

from typing import TYPE_CHECKING

from tidemark.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tidemark.monitoring.options import Options as Options
    from tidemark.monitoring.processor import MonitorProcessor as MonitorProcessor

_MODULE_OF = {
    "MonitorProcessor": "tidemark.monitoring.processor",
    "Options": "tidemark.monitoring.options",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)

__getattr__ = lazy_names(__name__, _MODULE_OF)
