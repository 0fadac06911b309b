"""The pipeline file that a command is given."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tidemark.pipeline.checked import CheckedTexts
from tidemark.pipeline.loading import load as load_text
from tidemark.pipeline.model import Pipeline


def load(path: Path) -> Pipeline:
    """The pipeline in a file, which is not tried again where its text was found right before.

    Args:
        path: of the file.

    Returns:
        The pipeline.

    Raises:
        ConfigError: as `tidemark.pipeline.load`.

    """
    named = os.environ.get("TIDEMARK_CACHE", "").strip()
    cache = Path(named).expanduser() if named else platformdirs.user_cache_path("tidemark", appauthor=False)
    return load_text(path, CheckedTexts.of(cache))
