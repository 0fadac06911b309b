"""What the sources of a pipeline have told of themselves in `P.metrics`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from tidemark.observe.status_record import SourceStatus
from tidemark.records import Metric
from tidemark.records.source_telling import AT_LEAST, NAME

SILENT: Final = 3 * AT_LEAST
"""Seconds after which a source that has told nothing is taken for one that does not run."""
_MOST_PROCESSES: Final = 64


class Sources:
    """The latest of each process of each source that the pipeline declares. Others are nobody's."""

    def __init__(self, kinds: dict[str, str]) -> None:
        """Begin with the kind of each source."""
        self._kinds = kinds
        self._latest: dict[str, dict[str, Metric]] = {name: {} for name in kinds}

    def take(self, metric: Metric) -> bool:
        """Take in a metric; whether it tells of a source."""
        if metric.name != NAME:
            return False
        of_source = self._latest.get(str(metric.detail.get("source")))
        if of_source is not None:
            process = str(metric.detail.get("process"))
            of_source.pop(process, None)
            of_source[process] = metric
            if len(of_source) > _MOST_PROCESSES:
                del of_source[next(iter(of_source))]
        return True

    def found(self, now: float) -> list[SourceStatus]:
        """Each source as it is. now: s since 1970."""
        return [self._status(name, list(told.values()), now) for name, told in self._latest.items()]

    def _status(self, name: str, told: list[Metric], now: float) -> SourceStatus:
        alive = [each for each in told if each.detail.get("runs") and now - each.at / 1e6 < SILENT]
        return SourceStatus(
            name=name,
            kind=self._kinds[name],
            processes=len(alive),
            records=sum(each.n for each in alive),
            refused=sum(_count(each.detail.get("refused")) for each in alive),
            per_second=sum(each.value or 0.0 for each in alive),
            at=max((each.at / 1e6 for each in told), default=None),
        )


def source_problems(sources: Collection[SourceStatus], file: str) -> list[str]:
    """Sentences on the sources that do not run. file: of the pipeline, as a person names it."""
    return [
        f"source '{source.name}' "
        + ("has not run yet" if source.at is None else "does not run")
        + f": see the log of `tidemark up`, or start it with `tidemark ingest {file} --source {source.name}`"
        for source in sources
        if not source.processes
    ]


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
