"""Labels of the random draw, and how many events each stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from tidemark.evaluation.focus import MARK, size_of
from tidemark.records import Label

_NEIGHBOURS: Final = 25
_MOST_EVENTS: Final = 2**53


def is_drawn(label: Label) -> bool:
    """Whether an annotation is of an event that was drawn with a chance that can be one."""
    inclusion = label.inclusion_probability
    return inclusion is not None and 0 < inclusion <= 1 and 0 < label.tile_count < _MOST_EVENTS


def is_focused(label: Label) -> bool:
    """Whether an annotation is of the focused draw: events of its tile had unequal chances."""
    return label.policy.endswith(MARK)


def weights_of(drawn: Iterable[Label]) -> dict[str, float]:
    """Events that each drawn one stands for: those of its tile over those that were drawn from it.

    How many were drawn is what neighbouring tiles of the policy had at most: of a tile itself some may still wait for
    their answer. The recorded inclusion probability is one coin, and its inverse varies far more than the truth. It
    tells apart a tile that was drawn whole.

    Args:
        drawn: labels that `is_drawn`, in order.

    Returns:
        By event.

    """
    weights: dict[str, float] = {}
    for group, around in _tiles(drawn):
        most = max(map(len, around))
        for label, share in zip(group, _shares(group, around), strict=True):
            whole = label.inclusion_probability == 1
            weights[label.event_id] = 1.0 if whole else max(label.tile_count / most * share, 1.0)
    return weights


def answered_weights(drawn: Iterable[Label]) -> dict[str, float]:
    """Events that each drawn one stands for that was answered.

    Args:
        drawn: `tidemark.evaluation.labels.drawn_labels`.

    Returns:
        By event.

    """
    drawn = [label for label in drawn if is_drawn(label)]
    weights = weights_of(drawn)
    return {label.event_id: weights[label.event_id] for label in drawn if label.status == "answered"}


def shares_of(drawn: Iterable[Label]) -> dict[str, float]:
    """How many times as many events each drawn one stands for as those drawn from its tile do on average.

    1 in the uniform draw. In the focused draw an event stands for the fewer the larger its size is, in units of the
    mean size of all events: which is the harmonic mean of those drawn from the neighbouring tiles.

    Args:
        drawn: labels that `is_drawn`, in order.

    Returns:
        By event.

    """
    return {
        label.event_id: share
        for group, around in _tiles(drawn)
        for label, share in zip(group, _shares(group, around), strict=True)
    }


def _tiles(drawn: Iterable[Label]) -> Iterator[tuple[list[Label], list[list[Label]]]]:
    """Each tile's labels, and those of the tiles around it, itself included."""
    tiles: dict[str, dict[int, list[Label]]] = defaultdict(lambda: defaultdict(list))
    for label in drawn:
        tiles[label.policy][label.tile].append(label)
    for by_number in tiles.values():
        groups = [by_number[number] for number in sorted(by_number)]
        for place, group in enumerate(groups):
            yield group, groups[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]


def _shares(group: list[Label], around: list[list[Label]]) -> list[float]:
    if not is_focused(group[0]):
        return [1.0] * len(group)
    inverse = [1 / size_of(label.probabilities) for other in around for label in other if label.probabilities]
    mean = len(inverse) / sum(inverse) if inverse else 1.0
    return [mean / size_of(label.probabilities) if label.probabilities else 1.0 for label in group]
