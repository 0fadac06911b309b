"""Operators for flows of one's own: Bytewax custom operators over micro-batches, exactly once.

`import dataflows.operators as tm`, then compose them as `dataflows.stream.build` does. See docs/how-to/own-flow.md.

Operators over rows are imported on first use: flows without them need no Polars.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
