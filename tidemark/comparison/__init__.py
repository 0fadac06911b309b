"""Two models on labels that neither has learnt from: `tidemark models diff` and the console's Models page.

`comparing.compared` is imported where it is called: it needs Numba and Polars, a second that who only shows a
comparison does not wait for.
"""

from tidemark.comparison.story import Compared, Figure, MadeOf, Side
from tidemark.comparison.words import basis_words, compared_words, difference_words, figure_words, made_words

__all__ = [
    "Compared",
    "Figure",
    "MadeOf",
    "Side",
    "basis_words",
    "compared_words",
    "difference_words",
    "figure_words",
    "made_words",
]
