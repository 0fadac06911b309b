"""What a person may have meant who wrote a name that there is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def did_you_mean(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Remedy for an unknown name: the nearest known one, or all of them."""
    names = list(known)
    close = near(name, names)
    if close is not None:
        return f"did you mean '{close}'?"
    if not names:
        return "there are none"
    return f"known are {', '.join(sorted(names)[:30])}"


def near(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most like an unknown one, None where none is."""
    from difflib import get_close_matches  # noqa: PLC0415 - needed where something is wrong already

    folded = {known_name.casefold(): known_name for known_name in known}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
