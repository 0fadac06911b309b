"""MkDocs' hook: adds the generated pages of the reference to the site."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.reference import GENERATED


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs with the files of docs/."""
    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    return files
