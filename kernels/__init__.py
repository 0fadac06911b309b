"""Numbers behind each choice: uncertainty, diversity, forest scoring, windows and sampling on numpy arrays.

Names are imported on first use: ``import kernels`` costs nothing and does not import numba. The stub beside this module
lists them, with the module of each.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
