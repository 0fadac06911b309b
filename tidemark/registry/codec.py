"""Models as Kafka records: the text in compressed chunks, a manifest, and the champion's name.

Keys: `VERSION/0000` ... for chunks, `VERSION` for the manifest, `champion` for the pointer. All records of
a publication are outputs of one transaction, chunks first.

What is read back is checked like a stranger's: bounded, of the right form, with its digest. Serials of champions only
go forward, so that an old record, signed as it is, moves nothing back; where there is a key, tombstones are signed too.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidemark.errors import ModelError, RecordError
from tidemark.records import Champion, ModelManifest, decode, encode
from tidemark.registry import signature
from tidemark.registry.pin import PIN_KEY, Pin
from tidemark.registry.versions import is_version, serial_of
from tidemark.runtime.processor import Output

CHAMPION_KEY: Final = b"champion"
MAX_TEXT: Final = 32_000_000
"""Bytes of model text that are accepted: 4,500 trees of 63 leaves."""
CHUNK: Final = 900_000
"""Bytes of compressed text in a record: brokers refuse messages over 1 MiB by default."""

MAX_CHUNKS: Final = 10_000
"""Chunks that a model can have: their keys have four digits."""
_MAX_PACKED: Final = MAX_TEXT + CHUNK
_MAX_WITHOUT_MANIFEST: Final = 8
"""Models whose chunks are held before their manifest comes: in a transaction it is the next record."""
_PAST: Final = 100
_FARTHEST: Final = 2**62
_SHOWN: Final = 80
_NO_MODELS: Final = "pipeline/"
"""Keys that begin so tell of the pipeline (`tidemark.registry.deployed`, `tidemark.registry.pin`)."""

Headers = Iterable[tuple[str, bytes | None]] | None

_CHUNK_KEY = re.compile(r"([^/]+)/([0-9]{4})")


def pack(raw: bytes, chunk: int = CHUNK) -> tuple[list[bytes], int, str]:
    """Compressed chunks of a model text in UTF-8, of at most `chunk` bytes; the text's size, and its SHA-256."""
    packed = zlib.compress(raw, 6)
    chunks = [packed[start : start + chunk] for start in range(0, len(packed), chunk)]
    return chunks, len(raw), hashlib.sha256(raw).hexdigest()


def publish(
    manifest: ModelManifest,
    text: str,
    *,
    topic: str,
    champion: bool = True,
    secret: bytes | None = None,
) -> list[Output]:
    """Records that publish a model, to be produced in one transaction and in this order.

    `chunks`, `size` and `sha256` of the manifest are set from the text. The champion moves if asked.

    Raises:
        ModelError: the version's name can't be a key, or the text is too large to be accepted by a reader.

    """
    if not is_version(manifest.version):
        raise ModelError(
            f"{manifest.version!r} can't name a model: use letters, digits, '.', '_' and '-', and not 'champion'"
        )
    chunks, size, sha256 = pack(text.encode())
    if size > MAX_TEXT:
        raise ModelError(f"model {manifest.version} has {size:,} bytes of {MAX_TEXT:,} allowed; train fewer trees")
    manifest = msgspec.structs.replace(manifest, chunks=len(chunks), size=size, sha256=sha256, promoted=champion)
    return records(manifest, chunks, topic=topic, champion=champion, secret=secret)


def records(
    manifest: ModelManifest, chunks: list[bytes], *, topic: str, champion: bool, secret: bytes | None
) -> list[Output]:
    """Records of a manifest that is complete, and of its chunks."""
    key = manifest.version.encode()
    outputs = [Output(topic, chunk, b"%s/%04d" % (key, index)) for index, chunk in enumerate(chunks)]
    outputs.append(signed(topic, key, encode(manifest), secret))
    if champion:
        pointer = Champion(version=manifest.version, since=manifest.created_at, parent=manifest.parent)
        outputs.append(signed(topic, CHAMPION_KEY, encode(pointer), secret))
    return outputs


def signed(topic: str, key: bytes, value: bytes | None, secret: bytes | None) -> Output:
    """Record, or tombstone, with the digest of its key and value in its header."""
    return Output(topic, value, key, headers=((signature.HEADER, signature.digest(key, value, secret)),))


@dataclass
class Registry:
    """What the records of a models topic say, fed in their order. Nothing is loaded here.

    secret: key that records must be signed with.  floor: serial below which no champion is accepted.
    manifests: by version.  past: versions that were champion earlier, oldest first.  pin: newest, None where none is.
    """

    secret: bytes | None = None
    floor: int = 0
    manifests: dict[str, ModelManifest] = field(default_factory=dict)
    past: list[str] = field(default_factory=list)
    pin: Pin | None = None
    _named: Champion | None = None
    _newest: str | None = None
    _withdrawn: int = -1
    _chunks: dict[str, dict[int, bytes]] = field(default_factory=dict)

    @property
    def champion(self) -> Champion | None:
        """The version in force, None before the first.

        That is the newest that was published as one. The record that names it may have given way to an older one that
        was written again, or to a tombstone, and then compaction has removed it: the manifest tells of it all the same.
        """
        newest = None if self._newest is None else self.manifests[self._newest]
        if newest is None or serial_of(newest.version) <= max(self._withdrawn, self._serial, self.floor - 1):
            return self._named
        return Champion(version=newest.version, since=newest.created_at, parent=newest.parent)

    @property
    def versions(self) -> Iterator[str]:
        """Every version that is known of, some of them more than once."""
        yield from self.manifests
        yield from self.past
        if self._named is not None:
            yield self._named.version

    def feed(self, key: bytes | None, value: bytes | None, headers: Headers = None) -> bool:
        """Take in one record; True if it named a champion. A value of None deletes (compaction's tombstone).

        Raises:
            ModelError: the record is malformed, its digest is wrong, or it is older than what it would replace; what
                was known before stays.

        """
        try:
            name = (key or b"").decode("ascii")
        except UnicodeDecodeError as error:
            raise _unknown(key) from error
        if key == PIN_KEY:
            self._feed_pin(key, value, headers)
        if name.startswith(_NO_MODELS):
            return False
        if key == CHAMPION_KEY:
            return self._feed_champion(key, value, headers)
        if key is not None and (match := _CHUNK_KEY.fullmatch(name)) and is_version(match[1]):
            self._feed_chunk(key, match[1], int(match[2]), value, headers)
        elif key is not None and is_version(name):
            self._feed_manifest(key, name, value, headers)
        else:
            raise _unknown(key)
        return False

    def feed_outputs(self, outputs: Iterable[Output]) -> None:
        """Take in records that are about to be produced."""
        for output in outputs:
            self.feed(output.key, output.value, output.headers)

    def candidates(self) -> list[str]:
        """Versions to serve, best first: the champion, then those before it, newest first."""
        champion = self.champion
        if champion is None:
            return []
        line = [champion.version, *([champion.parent] if champion.parent else [])]
        line += reversed(self.past)
        manifest = self.manifests.get(line[-1])
        while manifest is not None and manifest.parent is not None and manifest.parent not in line:
            line.append(manifest.parent)
            manifest = self.manifests.get(manifest.parent)
        return list(dict.fromkeys(line))

    def has_text(self, version: str) -> bool:
        """Whether the topic still holds all chunks of a model."""
        manifest = self.manifests.get(version)
        return manifest is not None and len(self._chunks.get(version, {})) == manifest.chunks

    def text(self, version: str, *, limit: int = MAX_TEXT) -> str:
        """Text of a model, put together from its chunks and checked against its manifest. limit: bytes.

        Raises:
            ModelError: no manifest, a chunk is missing, the size or the SHA-256 differs, or it is too large.

        """
        manifest = self.manifests.get(version)
        if manifest is None:
            raise ModelError(f"model {version}: its manifest is not in the topic")
        if not 0 < manifest.size <= limit:
            raise ModelError(f"model {version}: {manifest.size:,} bytes of at most {limit:,}")
        chunks = self._chunks.get(version, {})
        if sorted(chunks) != list(range(manifest.chunks)):
            raise ModelError(f"model {version}: chunks {sorted(chunks)} of the {manifest.chunks} it was published in")
        raw = _inflate(version, b"".join(chunks[index] for index in range(manifest.chunks)), manifest.size)
        if hashlib.sha256(raw).hexdigest() != manifest.sha256:
            raise ModelError(f"model {version}: the text's SHA-256 is not the manifest's")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise ModelError(f"model {version}: the text is not UTF-8 ({error})") from error

    def retire(self, topic: str, keep: int) -> list[Output]:
        """Tombstones for the chunks of all but the newest `keep` models and the champion's; manifests stay.

        So the topic and its readers' memory are bounded, and which labels made which model stays on record.
        """
        champion = self.champion
        serving = {champion.version, champion.parent} if champion else set()
        newest = sorted(self._chunks, key=self._age)
        old = [version for version in newest[: max(len(newest) - keep, 0)] if version not in serving]
        return [
            signed(topic, f"{version}/{index:04d}".encode(), None, self.secret)
            for version in old
            for index in sorted(self._chunks[version])
        ]

    def _age(self, version: str) -> tuple[int, str]:
        manifest = self.manifests.get(version)
        return (manifest.created_at if manifest else 0, version)

    @property
    def _serial(self) -> int:
        return -1 if self._named is None else serial_of(self._named.version)

    def _feed_champion(self, key: bytes, value: bytes | None, headers: Headers) -> bool:
        self._check(key, value, headers, "the champion's record")
        current = self.champion
        if value is None:
            self._withdrawn = max((serial_of(version) for version in self.versions), default=0)
            self._named = None
            return True
        try:
            champion = decode(Champion, value)
        except RecordError as error:
            raise ModelError(f"the champion's record is refused: {error.reason}") from error
        problem = _name_problem(champion.version, champion.parent) or _number_problem(champion.since)
        if problem is not None:
            raise ModelError(f"the champion's record is refused: {problem}")
        least = self.floor if self.secret is None else max(self.floor, self._withdrawn + 1)
        if serial_of(champion.version) < least or (current is not None and _is_older(champion, current)):
            newer = f"model {current.version}" if current is not None else f"serial {least}"
            raise ModelError(
                f"the champion's record is refused: model {champion.version} is older than {newer}, which was champion "
                "after it; an old record was written again"
            )
        if self._named is not None and self._named.version != champion.version:
            self.past = [*self.past, self._named.version][-_PAST:]
        self._named = champion
        return True

    def _feed_pin(self, key: bytes, value: bytes | None, headers: Headers) -> None:
        self._check(key, value, headers, "the pin")
        if value is None:
            self.pin = None
            return
        try:
            pin = decode(Pin, value)
        except RecordError as error:
            raise ModelError(f"the pin is refused: {error.reason}") from error
        problem = _name_problem(pin.version) or _number_problem(pin.at)
        if problem is None and self.pin is not None and pin.at < self.pin.at:
            problem = "an old record was written again"
        if problem is not None:
            raise ModelError(f"the pin is refused: {problem}")
        self.pin = pin

    @property
    def pinned(self) -> Pin | None:
        """The pin of the champion in force; None where it is not pinned."""
        champion = self.champion
        return self.pin if self.pin and champion and self.pin.version == champion.version else None

    def _feed_chunk(self, key: bytes, version: str, index: int, value: bytes | None, headers: Headers) -> None:
        chunks = self._chunks.get(version, {})
        if value is None:
            if index in chunks:  # one of what is not held deletes nothing
                self._check(key, value, headers, f"the deletion of a chunk of model {version}")
                del chunks[index]
                if not chunks:
                    del self._chunks[version]
            return
        if version in self.manifests:
            if chunks.get(index) != value:
                raise ModelError(f"a chunk of model {version} is refused: the model was published before it")
            return
        if sum(map(len, chunks.values())) - len(chunks.get(index, b"")) + len(value) > _MAX_PACKED:
            raise ModelError(f"a chunk of model {version} is refused: its chunks are more than {_MAX_PACKED:,} bytes")
        self._chunks.setdefault(version, chunks)[index] = value
        waiting = [each for each in self._chunks if each not in self.manifests]
        for each in waiting[:-_MAX_WITHOUT_MANIFEST]:
            del self._chunks[each]

    def _feed_manifest(self, key: bytes, name: str, value: bytes | None, headers: Headers) -> None:
        if value is None:
            if name in self.manifests:
                self._check(key, value, headers, f"the deletion of the manifest of model {name}")
                del self.manifests[name]
                self._newest = max(filter(self._is_promoted, self.manifests), key=serial_of, default=None)
            return
        self._check(key, value, headers, f"the manifest of model {name}")
        try:
            manifest = decode(ModelManifest, value)
        except RecordError as error:
            raise ModelError(f"the manifest of model {name} is refused: {error.reason}") from error
        if manifest.version != name:
            raise ModelError(f"the manifest under the key {name} is of model {manifest.version[:_SHOWN]!r}")
        problem = _manifest_problem(manifest)
        if problem is not None:
            raise ModelError(f"the manifest of model {name} is refused: {problem}")
        self.manifests[name] = manifest
        if manifest.promoted and (self._newest is None or serial_of(name) > serial_of(self._newest)):
            self._newest = name

    def _is_promoted(self, version: str) -> bool:
        return self.manifests[version].promoted

    def _check(self, key: bytes, value: bytes | None, headers: Headers, what: str) -> None:
        given = signature.given(headers)
        if value is None and given is None and self.secret is None:
            return  # without a key anybody may delete, as with the tools of Kafka
        if why := signature.refusal(key, value, given, self.secret):
            raise ModelError(f"{what} is refused: {why}")


def _unknown(key: bytes | None) -> ModelError:
    shown = repr(key) if key is None or len(key) <= _SHOWN else f"{key[:_SHOWN]!r}… ({len(key):,} bytes)"
    return ModelError(f"a record with the key {shown}: no version, chunk or 'champion'")


def _is_older(champion: Champion, current: Champion) -> bool:
    """Whether a champion came before the current one; of equal serials, by the time it was made."""
    serials = serial_of(champion.version), serial_of(current.version)
    return serials[0] < serials[1] or (serials[0] == serials[1] and champion.since < current.since)


def _manifest_problem(manifest: ModelManifest) -> str | None:
    """What no manifest of ours says, whoever has signed it."""
    if not 0 <= manifest.chunks <= MAX_CHUNKS:
        return f"{_count(manifest.chunks)} chunks, of at most {MAX_CHUNKS:,}"
    numbers = [manifest.created_at, manifest.known_until, manifest.used]
    for labels in manifest.trained_on:
        numbers += [labels.partition, labels.start, labels.end]
        if not 0 <= labels.start <= labels.end:
            return f"it was trained on labels from {_count(labels.start)} to {_count(labels.end)}"
    names = manifest.version, manifest.parent, manifest.copy_of
    return _name_problem(*names) or _number_problem(*numbers)


def _name_problem(*names: str | None) -> str | None:
    wrong = next((name for name in names if name is not None and not is_version(name)), None)
    return None if wrong is None else f"{wrong[:_SHOWN]!r} names no model"


def _number_problem(*numbers: int) -> str | None:
    wrong = next((number for number in numbers if abs(number) >= _FARTHEST), None)
    return None if wrong is None else f"the number {_count(wrong)} is out of range"


def _count(number: int) -> str:
    """A number for people, however large: Python refuses to write those of more than 4,300 digits."""
    return f"{number:,}" if abs(number) < _FARTHEST * 4 else f"of {number.bit_length()} bits"


def _inflate(version: str, packed: bytes, size: int) -> bytes:
    """Exactly `size` bytes; never more memory than that, whatever the stream says."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise ModelError(f"model {version}: its chunks can't be decompressed ({error})") from error
    if len(raw) != size or not stream.eof or stream.unused_data:
        raise ModelError(f"model {version}: its chunks do not decompress to the {size:,} bytes of the manifest")
    return raw
