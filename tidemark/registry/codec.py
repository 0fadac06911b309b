"""Models as Kafka records: the text in compressed chunks, a manifest, and the champion's name.

Keys: `VERSION/0000` ... for chunks, `VERSION` for the manifest, `champion` for the pointer. All records of
a publication are outputs of one transaction, chunks first.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidemark.errors import ModelError, RecordError
from tidemark.processor import Output
from tidemark.records import Champion, ModelManifest, decode, encode
from tidemark.registry import signature

CHAMPION_KEY: Final = b"champion"
MAX_TEXT: Final = 32_000_000
"""Bytes of model text that are accepted: 4,500 trees of 63 leaves."""
CHUNK: Final = 900_000
"""Bytes of compressed text in a record: brokers refuse messages over 1 MiB by default."""

Headers = Iterable[tuple[str, bytes | None]] | None

_VERSION = re.compile(r"(?!champion$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CHUNK_KEY = re.compile(r"([^/]+)/([0-9]{4})")


def is_version(text: str) -> bool:
    """Whether a text can name a version."""
    return _VERSION.fullmatch(text) is not None


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
    manifest = msgspec.structs.replace(manifest, chunks=len(chunks), size=size, sha256=sha256)
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


def signed(topic: str, key: bytes, value: bytes, secret: bytes | None) -> Output:
    """Record with the digest of its key and value in its header."""
    return Output(topic, value, key, headers=((signature.HEADER, signature.digest(key, value, secret)),))


@dataclass
class Registry:
    """What the records of a models topic say, fed in their order. Nothing is loaded here.

    manifests: by version.  champion: the version in force, None before the first.
    past: versions that were champion earlier, oldest first.
    """

    secret: bytes | None = None
    manifests: dict[str, ModelManifest] = field(default_factory=dict)
    champion: Champion | None = None
    past: list[str] = field(default_factory=list)
    _chunks: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def feed(self, key: bytes | None, value: bytes | None, headers: Headers = None) -> bool:
        """Take in one record; True if it named a champion. A value of None deletes (compaction's tombstone).

        Raises:
            ModelError: the record is malformed or its digest is wrong; what was known before stays.

        """
        try:
            name = (key or b"").decode("ascii")
        except UnicodeDecodeError as error:
            raise ModelError(f"a record with the key {key!r}: no version, chunk or 'champion'") from error
        if key == CHAMPION_KEY:
            return self._feed_champion(key, value, headers)
        if (match := _CHUNK_KEY.fullmatch(name)) and is_version(match[1]):
            self._feed_chunk(match[1], int(match[2]), value)
        elif key is not None and is_version(name):
            self._feed_manifest(key, name, value, headers)
        else:
            raise ModelError(f"a record with the key {key!r}: no version, chunk or 'champion'")
        return False

    def feed_outputs(self, outputs: Iterable[Output]) -> None:
        """Take in records that are about to be produced."""
        for output in outputs:
            self.feed(output.key, output.value, output.headers)

    def candidates(self) -> list[str]:
        """Versions to serve, best first: the champion, then those before it, newest first."""
        if self.champion is None:
            return []
        line = [self.champion.version, *([self.champion.parent] if self.champion.parent else [])]
        line += reversed(self.past)
        manifest = self.manifests.get(line[-1])
        while manifest is not None and manifest.parent is not None and manifest.parent not in line:
            line.append(manifest.parent)
            manifest = self.manifests.get(manifest.parent)
        return list(dict.fromkeys(line))

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
        serving = {self.champion.version, self.champion.parent} if self.champion else set()
        newest = sorted(self._chunks, key=self._age)
        old = [version for version in newest[: max(len(newest) - keep, 0)] if version not in serving]
        return [
            Output(topic, None, f"{version}/{index:04d}".encode())
            for version in old
            for index in sorted(self._chunks[version])
        ]

    def _age(self, version: str) -> tuple[int, str]:
        manifest = self.manifests.get(version)
        return (manifest.created_at if manifest else 0, version)

    def _feed_champion(self, key: bytes, value: bytes | None, headers: Headers) -> bool:
        if value is None:
            self.champion = None
            return True
        self._check(key, value, headers, "the champion's record")
        try:
            champion = decode(Champion, value)
        except RecordError as error:
            raise ModelError(f"the champion's record is refused: {error.reason}") from error
        if self.champion is not None and self.champion.version != champion.version:
            self.past.append(self.champion.version)
        self.champion = champion
        return True

    def _feed_chunk(self, version: str, index: int, value: bytes | None) -> None:
        if value is not None:
            self._chunks.setdefault(version, {})[index] = value
            return
        if version in self._chunks:
            self._chunks[version].pop(index, None)
            if not self._chunks[version]:
                del self._chunks[version]

    def _feed_manifest(self, key: bytes, name: str, value: bytes | None, headers: Headers) -> None:
        if value is None:
            self.manifests.pop(name, None)
            return
        self._check(key, value, headers, f"the manifest of model {name}")
        try:
            manifest = decode(ModelManifest, value)
        except RecordError as error:
            raise ModelError(f"the manifest of model {name} is refused: {error.reason}") from error
        if manifest.version != name:
            raise ModelError(f"the manifest under the key {name} is of model {manifest.version!r}")
        self.manifests[name] = manifest

    def _check(self, key: bytes, value: bytes, headers: Headers, what: str) -> None:
        given = next((content for name, content in headers or () if name == signature.HEADER), None)
        if why := signature.refusal(key, value, given, self.secret):
            raise ModelError(f"{what} is refused: {why}")


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
