"""Follows files of lines through rotation: renamed, copied and truncated, compressed. Each byte is read once.

A file that is open is known by its inode. Any other is known by its content: by the digest of the bytes that were read
of it, which stand at its beginning whatever it is called, wherever it was copied to, and compressed too. So a file of
the same name or inode with another content is another file, and a copy of what is being read is not read again.
"""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tidemark.errors import ConfigError, TopicError
from tidemark.runtime.safe_text import safe
from tidemark.sources.tailing.content import BROKEN, Digests, alike, is_compressed
from tidemark.sources.tailing.tracked import QUIET, LogPosition, Seen, Tracked

_log = logging.getLogger(__name__)
_MOST_FILES: Final = 10_000
_MOST_POSITIONS: Final = 5_000
_SHORT: Final = 64
"""Bytes below which a new file may well say the same as an old one."""
_SETTLED: Final = 10.0
"""Seconds without a change after which a file that may be half of a copy is one of its own."""


class Follower:
    """The files of a source."""

    def __init__(self, name: str, patterns: Sequence[Path]) -> None:
        """Prepare.

        Args:
            name: of the source, for the log.
            patterns: paths of files, with `*` and `?` in their last part; what is rotated stands beside them.

        """
        self._name, self._patterns = name, patterns
        self._tracked: dict[str, Tracked] = {}
        self._passed: dict[tuple[int, int, int, int], None] = {}
        self._said: set[str] = set()
        self._dropped: list[str] = []

    def restore(self, known: Mapping[str, str | None]) -> None:
        """Begin again from what is committed.

        Raises:
            TopicError: a position is none.

        """
        self.close()
        self._tracked, self._passed, self._dropped = {}, {}, []
        for key, told in known.items():
            if told is None:
                continue
            try:
                position = msgspec.json.decode(told, type=LogPosition)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TopicError(f"source '{self._name}': a position is none ({error})") from error
            self._tracked[key] = Tracked(position, key)

    def close(self) -> None:
        """Close every file."""
        for tracked in self._tracked.values():
            tracked.release()

    def moved(self) -> dict[str, str | None]:
        """Positions that are not committed yet; None for one that is kept no longer."""
        told: dict[str, str | None] = {
            key: msgspec.json.encode(tracked.told()).decode() for key, tracked in self._tracked.items() if tracked.moved
        }
        return {**dict.fromkeys(self._dropped), **told}

    def committed(self) -> None:
        """They are."""
        self._dropped = []
        for tracked in self._tracked.values():
            if tracked.moved and tracked.reading is not None:
                tracked.known = tracked.told()
            tracked.moved = False

    def reading(self) -> list[Tracked]:
        """Files to read, of each family what is oldest first."""
        found = [tracked for tracked in self._tracked.values() if tracked.reading is not None and tracked.seen]
        return sorted(found, key=lambda tracked: _order(tracked.seen))

    def give_up(self, tracked: Tracked, error: Exception) -> None:
        """Read no more of a file that can't be read, until it changes."""
        if tracked.seen is not None:
            self._say(f"{tracked.seen.path} can't be read further ({error})")
        tracked.release()

    def look(self) -> None:
        """Look which files there are, and which of them are those that are known.

        Raises:
            ConfigError: there are too many.

        """
        files = list(self._files())
        by_place = {seen.place: seen for seen in files}
        for tracked in self._tracked.values():
            before = tracked.seen
            self._look_at(tracked, by_place)
            if before is not None and tracked.seen is None:
                self._passed = {}  # one that was a copy of it may have to be read on in its place
        claimed = {tracked.seen.place for tracked in self._tracked.values() if tracked.seen is not None}
        for seen in sorted(files, key=_order):
            if seen.place not in claimed and seen.version not in self._passed and seen.size:
                self._take_up(seen)
        present = {seen.version for seen in files}
        self._passed = {version: None for version in self._passed if version in present}
        self._forget()

    def _look_at(self, tracked: Tracked, by_place: Mapping[tuple[int, int], Seen]) -> None:
        """A file that was found before: where it is now, and whether it is what it was."""
        before, reading = tracked.seen, tracked.reading
        if before is None:
            return
        now = by_place.get(before.place)
        if reading is None:
            # It is not open, so another one may have its inode.
            tracked.seen = now if now is not None and now.version == before.version else None
        elif reading.is_changed():
            tracked.release()
            tracked.seen = None  # truncated: what was not read may be in a copy
        elif now is not None:
            tracked.seen = now
            if now.rotated and reading.ended and not reading.pending and _is_quiet(now, QUIET):
                tracked.release()
        elif reading.ended:
            tracked.release()
            tracked.seen = None  # read to its end, and gone

    def _take_up(self, seen: Seen) -> None:
        """A file that is none of those that are open or done."""
        loose = [each for each in self._tracked.values() if each.seen is None and _may_be(each.known, seen)]
        held = [each for each in self._tracked.values() if each.seen is not None and each.seen.family == seen.family]
        if not seen.rotated:
            held = []  # what is written to is no copy, though it may say the same as an earlier one
        try:
            sizes = [each.position for each in (*loose, *held)]
            digests = Digests(seen.path, sizes, whole=is_compressed(seen.path))
            same = [each for each in loose if digests.at.get(each.position) == each.content]
            if same:
                max(same, key=lambda each: each.position).begin(seen)
            elif any(each.position and digests.at.get(each.position) == each.content for each in held):
                self._passed[seen.version] = None  # a copy of one that is read
            elif self._is_half(seen, digests, loose, held):
                if _is_quiet(seen, _SETTLED):
                    self._passed[seen.version] = None  # an old copy: all of it was read
            else:
                fresh = Tracked()
                fresh.begin(seen)
                self._tracked[fresh.key] = fresh
        except BROKEN as error:
            self._say(f"{seen.path} can't be read ({error}); it is tried again when it changes")
            if _is_quiet(seen, QUIET):
                self._passed[seen.version] = None

    @staticmethod
    def _is_half(seen: Seen, digests: Digests, loose: Sequence[Tracked], held: Sequence[Tracked]) -> bool:
        """Whether a file may be a copy that is still written: it begins as one that was read further."""
        size = digests.size if digests.size is not None else seen.size
        for tracked in held:
            if size < tracked.position and tracked.seen is not None and alike(seen.path, tracked.seen.path, size):
                return True
        return not _is_quiet(seen, _SETTLED) and any(
            size < tracked.position
            and tracked.known is not None
            and bool(digests.beginnings)
            and tracked.known.beginnings[: len(digests.beginnings)] == digests.beginnings
            for tracked in loose
        )

    def _forget(self) -> None:
        """Positions of files that are gone are kept for long, in case they come back; not for ever."""
        for key in [key for key, each in self._tracked.items() if not (each.seen or each.reading or each.known)]:
            del self._tracked[key]  # nothing was read of it
        gone = [(known.at, key) for key, each in self._tracked.items() if not each.seen and (known := each.known)]
        for _, key in sorted(gone)[: max(len(gone) - _MOST_POSITIONS, 0)]:
            del self._tracked[key]
            self._dropped.append(key)

    def _files(self) -> Iterator[Seen]:
        count = 0
        found: set[Path] = set()
        for path, family in self._paths():
            if path in found:
                continue
            found.add(path)
            try:
                told = path.stat()
            except OSError:
                continue
            if not stat.S_ISREG(told.st_mode):
                continue
            count += 1
            if count > _MOST_FILES:
                raise ConfigError(f"source '{self._name}': more than {_MOST_FILES:,} files are named; name fewer")
            yield Seen(path, family, told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns)

    def _paths(self) -> Iterator[tuple[Path, Path]]:
        """Files that are written to, and those that were rotated, which have the name with `.` or `-` behind it."""
        for pattern in self._patterns:
            named = sorted(pattern.parent.glob(pattern.name), key=lambda path: (len(path.name), path.name))
            families = [path for i, path in enumerate(named) if not any(_rotated(path, other) for other in named[:i])]
            # A family whose newest file is missing just now still has its others.
            if not any(sign in pattern.name for sign in "*?[") and pattern not in families:
                families.append(pattern)
            for family in families:
                yield family, family
                for path in sorted(family.parent.glob(f"{_escaped(family.name)}[.-]*")):
                    yield path, family

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < _MOST_FILES:
            self._said.add(what)
            _log.warning("source '%s': %s", self._name, safe(what))


def _rotated(path: Path, family: Path) -> bool:
    rest = path.name.removeprefix(family.name)
    return path.name.startswith(family.name) and rest[:1] in {".", "-"}


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _order(seen: Seen | None) -> tuple[str, bool, int, str]:
    """Oldest first, of each family; what is written to is the last."""
    if seen is None:
        return "", True, 0, ""
    return str(seen.family), not seen.rotated, seen.changed, seen.path.name


def _may_be(known: LogPosition | None, seen: Seen) -> bool:
    """Whether a file may be one that was read. What is short, and written to, is known by its inode alone."""
    if known is None or not known.position:
        return False
    if (known.device, known.inode) == seen.place:
        return True
    alike = Path(known.path).name.startswith(seen.family.name)
    return alike and (seen.rotated or known.position >= _SHORT)


def _is_quiet(seen: Seen, seconds: float) -> bool:
    return time.time() - seen.changed / 1e9 > seconds
