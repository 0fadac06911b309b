"""JSON objects that give a name twice, which mean one thing to one parser and another to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tidemark.formats.json_scan import name_hashes, suspicious


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
            name = self._twice(values[place])
            if name is not None:
                yield place, name

    def _twice(self, value: bytes) -> str | None:
        decoder = json.JSONDecoder(object_pairs_hook=list, parse_int=str, strict=False)  # numbers of any length
        pairs: list[tuple[str, Any]] = decoder.decode(value.decode(errors="replace"))
        seen: set[str] = set()
        for name, _ in pairs:
            if name in self._names and name in seen:
                return name
            seen.add(name)
        return None
