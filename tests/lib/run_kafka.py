"""The Kafka of a whole run of the tests, which several processes of it may share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class RunKafka:
    """Where it is. folder: of its data.  owner: the process that has started it, and ends it."""

    bootstrap_servers: str
    folder: Path
    owner: int

    def told(self) -> dict[str, str | int]:
        """As one process of a run tells it another."""
        return {"bootstrap_servers": self.bootstrap_servers, "folder": str(self.folder), "owner": self.owner}

    @classmethod
    def of(cls, told: dict[str, str | int]) -> Self:
        """What was told."""
        return cls(str(told["bootstrap_servers"]), Path(str(told["folder"])), int(told["owner"]))
