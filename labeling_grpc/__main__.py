"""`python -m labeling_grpc [PIPELINE.toml]`: serve one pipeline; without a path, the one in TIDEMARK_PIPELINE."""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime import garbage_collection
    from tidemark.runtime.signals import take_signals

    take_signals()
    garbage_collection.after_imports()

import os
import sys

from labeling_grpc.server import main
from tidemark.runtime.garbage_collection import from_now_on
from tidemark.runtime.logs import TIMED, log_to_stderr

if __name__ == "__main__":
    from_now_on()
    log_to_stderr(TIMED)
    path = sys.argv[1] if len(sys.argv) == 2 else os.environ.get("TIDEMARK_PIPELINE", "")
    if not path:
        sys.exit("usage: python -m labeling_grpc PIPELINE.toml (or set TIDEMARK_PIPELINE)")
    sys.exit(main(path))
