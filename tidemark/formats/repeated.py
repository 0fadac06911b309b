"""JSON objects that give a name twice, which mean one thing to one parser and another to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidemark.formats.json_scan import name_hashes, suspicious
from tidemark.runtime.json_names import given_again


class Repeated:
    """Finds objects that give one of some names more than once."""

    def __init__(self, names: Sequence[str]) -> None:
        """Prepare.

        Args:
            names: that matter, of the outermost object.

        """
        self._names = frozenset(names)
        self._hashes = name_hashes(names)

    def first(self, values: Sequence[bytes]) -> tuple[int, str] | None:
        """The first object that does.

        Args:
            values: JSON objects, which were found to be some.

        Returns:
            Its place and the name; None where no object does.

        Raises:
            RecursionError: an object is nested too deeply.

        """
        return next(self.all(values), None)

    def all(self, values: Sequence[bytes]) -> Iterator[tuple[int, str]]:
        """Every object that does: its place, and the first of its names that it gives again.

        Args:
            values: JSON objects, which were found to be some.

        Raises:
            RecursionError: an object is nested too deeply.

        """
        for place in suspicious(values, self._hashes).nonzero()[0].tolist():
            names = given_again(values[place], self._names)
            if names:
                yield place, names[0]
