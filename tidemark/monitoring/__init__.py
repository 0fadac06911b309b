"""Monitoring: measured quality, rates and answers, each with its interval and what it rests on.

The names are imported on first use: `retention` is needed by commands that need no processor.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
