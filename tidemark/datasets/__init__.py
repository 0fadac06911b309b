"""Real data as streams with truth: events in time order without what leaks the answer, and when each truth is known.

The files are not part of the project; `docs/how-to/real-data.md` tells what they are and where they are looked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from tidemark.errors import ConfigError
from tidemark.simulators import Simulation


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set. files: it is made of; module: knows how, by `stream(*frames) -> Simulation`.

    case: column of the entity that has one truth (a stay, an incident); None where each event has its own.
    """

    name: str
    files: tuple[str, ...]
    case: str | None

    def paths(self, folder: Path) -> list[Path]:
        """Its files in a folder, there or not."""
        return [folder / file for file in self.files]

    def load(self, folder: Path, rows: int | None = None) -> Simulation:
        """The stream, or its first `rows` events; the name is the project's for a stream with its truth.

        Raises:
            ConfigError: a file is not in the folder.

        """
        if absent := [str(path) for path in self.paths(folder) if not path.is_file()]:
            raise ConfigError(f"{self.name}: there is no {', '.join(absent)}; name the folder in TIDEMARK_DATA")
        stream: Callable[..., Simulation] = importlib.import_module(f"tidemark.datasets.{self.name}").stream
        whole = stream(*(pl.scan_parquet(path) for path in self.paths(folder)))
        return whole if rows is None else Simulation(whole.events.head(rows), whole.truth.head(rows))


DATASETS: Final = {
    dataset.name: dataset
    for dataset in (
        Dataset("handbook", ("handbook_simulated.parquet",), None),
        Dataset("backblaze", ("backblaze_2013.parquet",), "serial_number"),
        Dataset("itsm", ("itsm_incident_events.parquet",), "incident_id"),
        Dataset("physionet", ("physionet2012_set_a_events.parquet", "physionet2012_set_a_outcomes.parquet"), "stay_id"),
    )
}
"""By the name of the pipeline file under `pipelines/real/`."""
