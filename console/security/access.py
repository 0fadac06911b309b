"""Which role sees which page: the menu, the pages and their tests are driven by this table.

What a page shows of the queue is ruled by the labeling service on top of it, which is asked with the person's own
token. Pages that read Kafka, where nothing is hidden, have no other lock than this table.
"""

from __future__ import annotations

from typing import Final

PAGES: Final[dict[str, frozenset[str]]] = {
    "label": frozenset({"annotator", "reviewer", "admin"}),
    "review": frozenset({"reviewer", "admin"}),
    "work": frozenset({"reviewer", "admin"}),
    "loop": frozenset({"reviewer", "admin", "viewer"}),
    "models": frozenset({"reviewer", "admin", "viewer"}),
    "why": frozenset({"reviewer", "admin"}),
    "letters": frozenset({"admin"}),
}
TITLES: Final = {
    "label": "Label",
    "review": "Review",
    "work": "Work",
    "loop": "Loop",
    "models": "Models",
    "why": "Why",
    "letters": "Dead letters",
}
ROLES: Final = ("annotator", "reviewer", "admin", "viewer", "program")


def may(role: str, page: str) -> bool:
    """Whether a role sees a page."""
    return role in PAGES[page]


def menu(role: str) -> list[str]:
    """The pages of a role, the one that it begins with first."""
    return [page for page in PAGES if may(role, page)]
