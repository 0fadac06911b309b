"""Dead letters as lines of a file, and by what was wrong with them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.replay.corrections import corrected, corrections
from tidemark.replay.exporting import line
from tidemark.replay.grouping import grouped, kind
from tidemark.replay.letters import Letter, Source, State

CONTENT = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.floats(allow_nan=False), st.text(max_size=9))).map(
        msgspec.json.encode
    ),
    st.sampled_from([b"{", b"{}", b'{"a": 1.50}', b'{\n "a": 1}', b'"{}"', b"null", b"{} {}", b'{"a":\t1e400}']),
)


def letter(offset: int = 0, **over: object) -> Letter:
    values: dict[str, object] = {
        "partition": 0,
        "offset": offset,
        "source": Source("raw", 1, 7, "0a1b2c3d", None),
        "step": "decode",
        "reason": "amount: 'x' is no number",
        "at": 1_000 + offset,
        "key": b"C1",
        "value": b"{}",
        "headers": (),
        "truncated": False,
        "size": 2,
        "sha256": None,
    }
    return Letter(**values | over)  # type: ignore[arg-type]


@given(contents=st.lists(st.tuples(CONTENT, CONTENT, st.booleans()), max_size=5))
def test_a_file_that_is_given_back_unchanged_corrects_nothing(
    contents: list[tuple[bytes | None, bytes | None, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    letters = [letter(offset, key=key, value=value, truncated=cut) for offset, (key, value, cut) in enumerate(contents)]
    written = b"".join(line(each) + b"\n" for each in letters)
    file = tmp_path_factory.getbasetemp() / "letters.ndjson"
    file.write_bytes(written)
    assert written.count(b"\n") == len(letters)
    found = corrections(file)
    assert [corrected(each, found[0, each.offset]) for each in letters] == letters


def test_what_is_changed_in_the_file_is_what_is_corrected(tmp_path: Path) -> None:
    before = letter(3, value=b'{"amount": "1,5", "note": 1.50}')
    file = tmp_path / "letters.ndjson"
    file.write_bytes(line(before).replace(b'"1,5"', b"1.5"))
    after = corrected(before, corrections(file)[0, 3])
    assert after.value == b'{"amount": 1.5, "note": 1.50}'
    assert b"amount: 'x' is no number" in line(before)
    assert b"raw[1] 7" in line(before)


def test_a_thousand_records_of_one_mistake_are_one_line() -> None:
    letters = [(letter(n, reason=f"amount: 'x{n}' is no number, row {n}"), State.open) for n in range(1_000)]
    letters += [(letter(1_000, reason="amount: 'y' is no number, row 5"), State.resolved)]
    letters += [(letter(1_001, reason="time: missing", at=None), State.open)]
    first, second = grouped(letters)
    assert (first.reason, first.count, first.states[State.open]) == ("amount: … is no number, row …", 1_001, 1_000)
    assert (first.first, first.last, first.example) == (1_000, 2_000, 1_000)
    assert (second.reason, second.first, second.last) == ("time: missing", None, None)


@given(st.lists(st.text("ab1'\" …", max_size=12), max_size=60))
def test_every_dead_letter_is_in_one_group(reasons: list[str]) -> None:
    groups = grouped((letter(n, reason=reason), State.open) for n, reason in enumerate(reasons))
    assert sum(group.count for group in groups) == len(reasons)
    assert {group.reason for group in groups} == {kind(reason) for reason in reasons}


def test_groups_have_a_bound() -> None:
    letters = [(letter(n, reason="r" * n), State.open) for n in range(1_500)]
    groups = grouped(letters)
    assert len(groups) == 1_001
    assert sum(group.count for group in groups) == 1_500
