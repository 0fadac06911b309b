"""What several annotators' answers to the same cases come to, and how far each of them can be trusted.

Numbers alone: no database, no Kafka. `Answers` holds who said what of which case; the rest reads it.
"""

from tidemark.consensus.agreement import (
    Agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    krippendorff_alpha_of_numbers,
)
from tidemark.consensus.answers import Answers
from tidemark.consensus.dawid_skene import DawidSkene, dawid_skene
from tidemark.consensus.glad import Glad, glad
from tidemark.consensus.online import OnlineDawidSkene
from tidemark.consensus.screening import Screening, screen, screen_numbers
from tidemark.consensus.vote import majority

__all__ = [
    "Agreement",
    "Answers",
    "DawidSkene",
    "Glad",
    "OnlineDawidSkene",
    "Screening",
    "cohen_kappa",
    "dawid_skene",
    "fleiss_kappa",
    "glad",
    "krippendorff_alpha",
    "krippendorff_alpha_of_numbers",
    "majority",
    "screen",
    "screen_numbers",
]
