from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.pipeline import parse
from tidemark.pipeline.lines import Lines

ROOT = Path(__file__).parents[3]
FRAUD = (ROOT / "pipelines" / "fraud.toml").read_text(encoding="utf-8")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 TOML holds anything
    """Every value that is no table or list, with its place in words."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{at}[{i}]")
    else:
        yield at, value


NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True), st.text(alphabet="ab .#[]=\"'\\é", min_size=1, max_size=4)
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])
BREAKS = st.sampled_from(["", "\n", " # a ] } comment = \"'\n", "\r\n\n"])


class Writer:
    """Writes TOML in every way that it has. Each number is one that no other value has, so its line can be found."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.count = draw, 0

    def name(self, taken: set[str]) -> str:
        name = self.draw(NAMES.filter(lambda name: name not in taken))
        taken.add(name)
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) and self.draw(st.booleans()):
            return name
        return f"'{name}'" if "'" not in name and self.draw(st.booleans()) else json.dumps(name, ensure_ascii=False)

    def value(self, depth: int, *, inline: bool = False) -> str:
        self.count += 1
        number = 70_000 + self.count
        kind = self.draw(st.integers(0, 8 if depth else 5))
        blank = self.draw(BLANKS)
        if kind <= 2:
            return (str(number), f"{number}.5", f"1979-05-27 00:00:00.{number}")[kind]
        if kind == 3:
            return f'"x{number}\\"]}} #"'
        if kind in {4, 5} and not inline:
            quotes = '"""' if kind == 4 else "'''"
            return f"{quotes}x{number}\n ] = [x] # {quotes}"
        if kind <= 6:
            return f"'x{number}] \"'"
        if kind == 7:
            parts = [self.value(depth - 1, inline=inline) for _ in range(self.draw(st.integers(0, 3)))]
            breaks = [blank if inline else self.draw(BREAKS) for _ in range(len(parts) + 1)]
            last = self.draw(st.sampled_from(["", ","])) if parts else ""
            return "[" + ",".join(b + p for b, p in zip(breaks, parts, strict=False)) + last + breaks[-1] + "]"
        taken: set[str] = set()
        pairs = [
            f"{self.name(taken)}{blank}={blank}{self.value(depth - 1, inline=True)}"
            for _ in range(self.draw(st.integers(0, 3)))
        ]
        return "{" + blank + f"{blank},{blank}".join(pairs) + blank + "}"

    def pairs(self) -> list[str]:
        taken: set[str] = set()
        lines = []
        for _ in range(self.draw(st.integers(0, 3))):
            names = [self.name(taken), *(self.name(set()) for _ in range(self.draw(st.integers(0, 2))))]
            lines += [f"{self.draw(BLANKS)}{'.'.join(names)} = {self.value(2)}", *self.draw(BREAKS).splitlines()]
        return lines

    def document(self) -> str:
        lines, taken = self.pairs(), {""}
        for _ in range(self.draw(st.integers(0, 3))):
            name = json.dumps("t" + str(self.count) + self.draw(NAMES))
            if name in taken:
                continue
            taken.add(name)
            if self.draw(st.booleans()):
                lines += [f"[{name}]", *self.pairs()]
                continue
            for _ in range(self.draw(st.integers(1, 3))):
                lines += [f" [[ {name} ]] # one", *self.pairs()]
                if self.draw(st.booleans()):
                    lines += [f"[{name}.'below it']", *self.pairs(), f"[[{name}.more]]", *self.pairs()]
        return "\n".join(lines)


@st.composite
def documents(draw: st.DrawFn) -> str:
    return Writer(draw).document()


@given(documents())
def test_every_value_is_found_on_the_line_that_it_stands_on(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a name that a dotted one has used up
    index, written = Lines(text), text.split("\n")
    for key, value in leaves(document):
        number = re.search(r"7\d{4}", str(value).replace(":", ""))
        assert number is not None
        line = index.of(key)
        assert line is not None
        assert number[0] in written[line - 1], (key, value, line)


def test_a_missing_key_is_told_at_the_line_of_its_table() -> None:
    lines = Lines('name = "a"\n\n[[windows]]\nname = "b"\n\n[[windows]]\nname = "c"\n\n[label]\n')
    assert lines.of("windows[1].size") == 6
    assert lines.of("windows[0].name") == 4
    assert lines.of("label.classes[3]") == 9
    assert lines.of("selection.tile") is None


@pytest.mark.parametrize("opening", ["[", "{a="])
def test_a_value_that_nests_deeply_takes_no_stack(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    lines = Lines(f"\nx = {opening * 2_000}1{closing * 2_000}\ny = 1")
    assert (lines.of("y"), lines.of("x" + "[0]" * 40)) == (3, 2)


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ('tile = "', 'tile = "1 hour', "selection.tile"),
        ('positive = "fraud"', 'positive = "fruad"', "label.positive"),
        ("[training]", "[training]\nevry = 3", "training.evry"),
        ('"customer_id"', '"custmer_id"', "keys[0]"),
    ],
)
def test_a_mistake_in_a_pipeline_file_is_told_with_its_line(before: str, after: str, key: str) -> None:
    """As `FILE:LINE:`, which editors and terminals know how to open."""
    assert before in FRAUD
    text = FRAUD.replace(before, after, 1)
    expected = next(number for number, line in enumerate(text.splitlines(), 1) if after.splitlines()[-1] in line)
    with pytest.raises(ConfigError) as raised:
        parse(text, "fraud.toml")
    told = [line for line in str(raised.value).splitlines() if f": {key}: " in line]
    assert [line.partition(": ")[0] for line in told] == [f"fraud.toml:{expected}"]


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^x\.toml:3: is no TOML: .*column 3"):
        parse("a = 1\n\nb 2\n", "x.toml")
    with pytest.raises(ConfigError, match=r"^x\.toml:2: is no TOML: "):
        parse('a = 1\nb = "', "x.toml")
