"""Two models on labels that neither has learnt from: `tidemark models diff` and the console's Models page."""

from tidemark.comparison.comparing import compared
from tidemark.comparison.story import Compared, Figure, MadeOf, Side
from tidemark.comparison.words import basis_words, compared_words, difference_words, figure_words, made_words

__all__ = [
    "Compared",
    "Figure",
    "MadeOf",
    "Side",
    "basis_words",
    "compared",
    "compared_words",
    "difference_words",
    "figure_words",
    "made_words",
]
