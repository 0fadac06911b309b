"""Random damage to a published model: what row F3 and its smaller test do to the records of the models topic."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from tidemark.records import ModelManifest
from tidemark.registry.codec import CHAMPION_KEY, pack, records, signed
from tidemark.runtime.processor import Output

_CHUNK: Final = 4_000
"""Small, so that a model has several chunks to lose and swap."""
_NUMBER: Final = re.compile(rb"-?[0-9][0-9.e+-]*")
_HOSTILE: Final = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"-0", b"1", b"2147483647", b"2147483648", b"-2147483649",
    b"4294967296", b"18446744073709551616", b"1e-320", b"0x10", b"", b" ", b"1 1", b"99999999999999999999999999",
)  # fmt: skip
_HEADER_LINES: Final = 11


@dataclass(frozen=True, slots=True)
class Mutant:
    """Records of a damaged publication. how: what was done.  resealed: SHA-256 and size were made to fit again."""

    how: str
    resealed: bool
    outputs: list[Output]


def _flip_bit(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def _replace_byte(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + rng.choice(b"0123456789-. =\nabcdefghijklmnopqrstuvwxyz").to_bytes(1, "big") + raw[at + 1 :]


def _edit_digit(raw: bytes, rng: random.Random) -> bytes:
    places = [match.start() for match in re.finditer(rb"[0-9]", raw)]
    at = rng.choice(places)
    return raw[:at] + str(rng.randrange(10)).encode() + raw[at + 1 :]


def _edit_number(raw: bytes, rng: random.Random) -> bytes:
    match = rng.choice(list(_NUMBER.finditer(raw)))
    return raw[: match.start()] + rng.choice(_HOSTILE) + raw[match.end() :]


def _swap_numbers(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    chosen = [number for number, line in enumerate(lines) if b"=" in line and line.count(b" ") > 1]
    number = rng.choice(chosen)
    name, _, body = lines[number].partition(b"=")
    tokens = body.split(b" ")
    one, two = rng.sample(range(len(tokens)), 2)
    tokens[one], tokens[two] = tokens[two], tokens[one]
    lines[number] = name + b"=" + b" ".join(tokens)
    return b"\n".join(lines)


def _truncate(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _lines(change: Callable[[list[bytes], random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(raw: bytes, rng: random.Random) -> bytes:
        lines = raw.split(b"\n")
        change(lines, rng)
        return b"\n".join(lines)

    return mutate


def _swap_lines(lines: list[bytes], rng: random.Random) -> None:
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]


def _repeat_line(lines: list[bytes], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def _drop_line(lines: list[bytes], rng: random.Random) -> None:
    del lines[rng.randrange(len(lines))]


def _edit_header(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    number = rng.randrange(_HEADER_LINES)
    edit = rng.choice((_flip_bit, _replace_byte, _edit_number if _NUMBER.search(lines[number]) else _flip_bit))
    lines[number] = edit(lines[number], rng) if lines[number] else b"x"
    return b"\n".join(lines)


def _splice(raw: bytes, rng: random.Random) -> bytes:
    size = rng.randrange(1, 2_000)
    source, target = rng.randrange(len(raw)), rng.randrange(len(raw))
    return raw[:target] + raw[source : source + size] + raw[target + size * rng.randrange(2) :]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + rng.randbytes(rng.randrange(1, 20)) + raw[at:]


def _rewire(raw: bytes, rng: random.Random) -> bytes:
    """Point a child somewhere else, in range: cycles, orphans and nodes with two parents."""
    found = list(re.finditer(rb"(?:left|right)_child=([^\n]+)", raw))
    match = rng.choice(found)
    tokens = match[1].split(b" ")
    tokens[rng.randrange(len(tokens))] = str(rng.randrange(-len(tokens) - 1, len(tokens))).encode()
    return raw[: match.start(1)] + b" ".join(tokens) + raw[match.end(1) :]


TEXT: Final[dict[str, Callable[[bytes, random.Random], bytes]]] = {
    "flip a bit": _flip_bit,
    "replace a byte": _replace_byte,
    "edit a digit": _edit_digit,
    "replace a number": _edit_number,
    "swap two numbers": _swap_numbers,
    "point a child elsewhere": _rewire,
    "truncate": _truncate,
    "swap two lines": _lines(_swap_lines),
    "repeat a line": _lines(_repeat_line),
    "drop a line": _lines(_drop_line),
    "edit the header": _edit_header,
    "splice": _splice,
    "insert bytes": _insert,
}
"""Damage to the model text."""


class Mutator:
    """Mutants of one model, the same for the same seed. The damage is random; nothing of the secret is known."""

    def __init__(self, manifest: ModelManifest, text: str, other: str, topic: str) -> None:
        self._raw = text.encode()
        self._other = other.encode()
        self._topic = topic
        chunks, size, sha256 = pack(self._raw, _CHUNK)
        self._manifest = msgspec.structs.replace(manifest, chunks=len(chunks), size=size, sha256=sha256)
        self._chunks = chunks
        self.whole = self._records(self._manifest, chunks)

    def text_mutant(self, rng: random.Random, *, reseal: bool) -> Mutant:
        """Damaged text; `reseal`: with chunks, size and SHA-256 that fit it, so that only what follows can notice."""
        how = rng.choice(list(TEXT))
        raw = self._raw
        while raw == self._raw:
            raw = TEXT[how](self._raw, rng)
        chunks, size, sha256 = pack(raw, _CHUNK)
        manifest = msgspec.structs.replace(self._manifest, chunks=len(chunks))
        if reseal:
            manifest = msgspec.structs.replace(manifest, size=size, sha256=sha256)
        return Mutant(how, reseal, self._records(manifest, chunks))

    def record_mutant(self, rng: random.Random) -> Mutant:
        """Damaged records: chunks lost, swapped, of another model; bits of chunk, manifest or champion flipped."""
        how, change = rng.choice(list(self._changes().items()))
        return Mutant(how, resealed=False, outputs=change(rng))

    def any_mutant(self, rng: random.Random) -> Mutant:
        """Seven in ten: resealed text; one: text with the old digest; two: records."""
        draw = rng.random()
        return self.record_mutant(rng) if draw < 0.2 else self.text_mutant(rng, reseal=draw >= 0.3)

    def _records(self, manifest: ModelManifest, chunks: list[bytes]) -> list[Output]:
        return records(manifest, chunks, topic=self._topic, champion=True, secret=None)

    def _changes(self) -> dict[str, Callable[[random.Random], list[Output]]]:
        return {
            "lose a chunk": self._lose,
            "swap chunks": self._swap,
            "a chunk of another model": self._foreign,
            "flip a bit of a chunk": self._flip(0, len(self._chunks)),
            "flip a bit of the manifest": self._flip(len(self._chunks), len(self._chunks) + 1),
            "flip a bit of the champion": self._flip(len(self._chunks) + 1, len(self._chunks) + 2),
            "flip a bit of the manifest, with a digest that fits": self._forge,
            "a decompression bomb": self._bomb,
        }

    def _lose(self, rng: random.Random) -> list[Output]:
        lost = rng.randrange(len(self._chunks))
        return [output for index, output in enumerate(self.whole) if index != lost]

    def _swap(self, rng: random.Random) -> list[Output]:
        one, two = rng.sample(range(len(self._chunks)), 2)
        chunks = list(self._chunks)
        chunks[one], chunks[two] = chunks[two], chunks[one]
        return self._records(self._manifest, chunks)

    def _foreign(self, rng: random.Random) -> list[Output]:
        theirs = pack(self._other, _CHUNK)[0]
        index = rng.randrange(min(len(theirs), len(self._chunks)))
        return self._with(index, theirs[index])

    def _flip(self, low: int, high: int) -> Callable[[random.Random], list[Output]]:
        def change(rng: random.Random) -> list[Output]:
            index = rng.randrange(low, high)
            return self._with(index, _flip_bit(self.whole[index].value or b"", rng))

        return change

    def _forge(self, rng: random.Random) -> list[Output]:
        index = len(self._chunks)
        manifest = self.whole[index]
        forged = signed(self._topic, manifest.key or b"", _flip_bit(manifest.value or b"", rng), None)
        return _put(self.whole, index, forged)

    def _bomb(self, rng: random.Random) -> list[Output]:
        chunks = [zlib.compress(bytes(rng.randrange(1_000_000, 5_000_000)), 9), *self._chunks[1:]]
        return self._records(self._manifest, chunks)

    def _with(self, index: int, value: bytes) -> list[Output]:
        return _put(self.whole, index, self.whole[index]._replace(value=value))


def _put(outputs: Sequence[Output], index: int, output: Output) -> list[Output]:
    return [output if number == index else each for number, each in enumerate(outputs)]


def names_champion(outputs: Sequence[Output]) -> bool:
    """Whether the records end with a champion's."""
    return bool(outputs) and outputs[-1].key == CHAMPION_KEY
