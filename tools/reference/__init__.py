"""Pages of the reference that are made from the code, so that they can't fall behind it.

`make docs` builds them into the site (`tools/docs_hooks.py`); `tests/docs` holds that each is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tools.reference.cli import cli_page
from tools.reference.contract import contract_page
from tools.reference.expressions import aggregates_page, functions_page
from tools.reference.flows import flows_page
from tools.reference.kernels import kernels_page
from tools.reference.metrics import metrics_page
from tools.reference.pipeline import pipeline_page
from tools.reference.python_api import python_page
from tools.reference.settings import settings_page
from tools.reference.sources import sources_page
from tools.reference.strategies import strategies_page

GENERATED: Final[dict[str, Callable[[], str]]] = {
    "reference/aggregates.md": aggregates_page,
    "reference/cli.md": cli_page,
    "reference/flows.md": flows_page,
    "reference/functions.md": functions_page,
    "reference/grpc.md": contract_page,
    "reference/kernels.md": kernels_page,
    "reference/metrics.md": metrics_page,
    "reference/pipeline.md": pipeline_page,
    "reference/python.md": python_page,
    "reference/settings.md": settings_page,
    "reference/sources.md": sources_page,
    "reference/strategies.md": strategies_page,
}
"""Path below `docs/`, and what gives the page's Markdown."""
