"""Supervision of a pipeline's processes (`tidemark up`).

The names are imported on first use, with asyncio: whoever asks which process supervises a pipeline needs neither.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
