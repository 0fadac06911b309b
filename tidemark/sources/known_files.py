"""Progress over many files, found by what may be the same file without looking at each."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from tidemark.sources.progress import BEGINNINGS, Progress, decode_progress, whole_digest


class KnownFiles:
    """Progress over the files of a raw topic."""

    def __init__(self, topic: str, incarnation: str, records: Mapping[bytes, bytes]) -> None:
        """Take in what is committed.

        Args:
            topic: the raw topic.
            incarnation: of it; what was ingested into an earlier topic of this name does not count.
            records: of `P.ingest`, by their keys.

        Raises:
            TopicError: one is no progress.

        """
        self._by_key: dict[bytes, Progress] = {}
        self._marks: defaultdict[object, set[bytes]] = defaultdict(set)
        for value in records.values():
            progress = decode_progress(value)
            if (progress.topic, progress.incarnation) == (topic, incarnation):
                self.add(progress)

    def add(self, progress: Progress) -> None:
        """Progress that is committed now."""
        key = progress.key
        self._by_key[key] = progress
        for mark in (
            (progress.device, progress.inode),
            progress.path,
            progress.content if progress.whole else (progress.beginnings[0] if progress.beginnings else None),
        ):
            self._marks[mark].add(key)

    def candidates(self, path: Path, *, whole: bool, taken: Callable[[Progress], bool]) -> list[Progress]:
        """Progress that may be over a file: by its place, or as its beginning is the same.

        Args:
            path: of the file.
            whole: it never grows, and is known by all of its content.
            taken: whether another file was found to be the one of a progress.

        Raises:
            OSError: it can't be read.

        """
        status, resolved = path.stat(), path.resolve()
        if whole:
            start: str | None = whole_digest(path)
        else:
            with path.open("rb") as file:
                head = file.read(BEGINNINGS[0])
            start = hashlib.sha256(head).hexdigest() if len(head) == BEGINNINGS[0] else None
        marks = ((status.st_dev, status.st_ino), str(resolved), start, None)
        keys = {key for mark in marks for key in self._marks.get(mark, ())}
        found = [self._by_key[key] for key in sorted(keys)]
        return [progress for progress in found if not taken(progress)]
