from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import MISSING, Chromium, chromium, chromium_path
from console_world import World, fraud_desk, fraud_pipeline, world


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """The system's Chromium. Playwright has an event loop in this thread until it ends, and other tests have theirs."""
    path = chromium_path()
    if path is None:
        pytest.skip(MISSING)
    with chromium(path) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[World]:
    """A service without tokens, cases of fraud and a model, and the console."""
    with world(tmp_path, fraud_pipeline()) as its:
        fraud_desk(its)
        yield its
