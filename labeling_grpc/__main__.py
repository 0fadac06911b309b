"""`python -m labeling_grpc [PIPELINE.toml]`: serve one pipeline; without a path, the one in TIDEMARK_PIPELINE."""

from __future__ import annotations

import logging
import os
import sys

from labeling_grpc.server import main

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    path = sys.argv[1] if len(sys.argv) == 2 else os.environ.get("TIDEMARK_PIPELINE", "")
    if not path:
        sys.exit("usage: python -m labeling_grpc PIPELINE.toml (or set TIDEMARK_PIPELINE)")
    sys.exit(main(path))
