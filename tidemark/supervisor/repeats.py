"""Lines that a process writes again and again: the first are shown, then ever fewer, each with how many there were."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_VARYING: Final = re.compile(r"0x[0-9a-f]+|[0-9]+(\.[0-9]+)?")
_MOST_KINDS: Final = 200
_FIRST_SECONDS: Final = 10.0
_MOST_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Kind:
    """Lines that are alike but for their numbers. Until `until` they are kept back, or were seen last then."""

    until: float
    wait: float = 0.0
    written: int = 1
    left_out: int = 0


class Repeats:
    """Which lines of one process are written.

    Lines that differ in numbers alone are of one kind. Of each kind `often` lines are written, then one in 10 s, one in
    20 s, and so on up to one in ten minutes. A kind that has been quiet for twice as long is new again.
    """

    def __init__(self, often: int = 20) -> None:
        self._often = often
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def line(self, text: str, now: float) -> str | None:
        """What to write of a line.

        Args:
            text: the line.
            now: seconds of a clock that does not go back.

        Returns:
            The line, with how many like it were left out before it; None where it is left out.

        """
        key = _VARYING.sub("#", text)
        kind = self._kinds.pop(key, None)
        if kind is None or now > kind.until + max(kind.wait, _FIRST_SECONDS):
            left_out = 0 if kind is None else kind.left_out
            kind = _Kind(now)
        elif kind.written < self._often:
            kind.written, kind.until, left_out = kind.written + 1, now, 0
        elif now < kind.until:
            kind.left_out += 1
            self._kinds[key] = kind
            return None
        else:
            left_out, kind.left_out = kind.left_out, 0
            kind.wait = min(max(kind.wait * 2, _FIRST_SECONDS), _MOST_SECONDS)
            kind.until = now + kind.wait
        self._kinds[key] = kind  # the last that is forgotten
        while len(self._kinds) > _MOST_KINDS:
            self._kinds.popitem(last=False)
        return f"{text} ({left_out:,} lines like this were left out)" if left_out else text
