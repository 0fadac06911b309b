"""What the watch over parity tells: sampled events computed once more, against their features as scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tidemark.runtime.processor import Headers


@dataclass(frozen=True, slots=True)
class Checked:
    """An event that was looked at.

    compared: features.  differing: those that come out otherwise, with both values.  incomparable: those that could not
    be compared, and why.
    """

    event_id: str
    compared: int = 0
    differing: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    incomparable: Mapping[str, str] = field(default_factory=dict)


class Checking(Protocol):
    """Looks at sampled events, a few of them, beside the flow."""

    def offer(self, value: bytes | None, headers: Headers | None) -> None:
        """Offer a record of the sample. Returns at once; of too many the older ones are passed over."""
        ...

    def told(self) -> Sequence[Checked]:
        """What was looked at lately, the newest last.

        Raises:
            RuntimeError: a bug ended whoever looks.

        """
        ...

    def close(self) -> None:
        """Stop looking."""
        ...
