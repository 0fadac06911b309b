"""`python -m console PIPELINE.toml …`: serve pages of pipelines; without a path, of the one in TIDEMARK_PIPELINE."""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime import garbage_collection
    from tidemark.runtime.signals import take_signals

    take_signals()
    garbage_collection.after_imports()

import os
import sys

from console.server import main
from tidemark.runtime.garbage_collection import from_now_on
from tidemark.runtime.logs import TIMED, log_to_stderr

if __name__ == "__main__":
    from_now_on()
    log_to_stderr(TIMED)
    files = sys.argv[1:] or [file for file in [os.environ.get("TIDEMARK_PIPELINE", "")] if file]
    if not files:
        sys.exit("usage: python -m console PIPELINE.toml … (or set TIDEMARK_PIPELINE)")
    sys.exit(main(files))
