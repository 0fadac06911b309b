"""One pipeline of the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from console.lineages import Lineages
from console.loop.watch import Watch
from console.service import Connections
from console.shown.case_view import CaseLayout
from console.shown.formatting import Times
from labeling_grpc.client.gateway import Gateway
from labeling_grpc.options import find
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Site:
    """A pipeline, its file as it was named, its labeling service, how its cases are laid out, and what watches it."""

    pipeline: Pipeline
    file: str
    settings: Settings
    connections: Connections
    gateway: Gateway
    layout: CaseLayout
    watch: Watch
    lineages: Lineages

    @classmethod
    def of(cls, pipeline: Pipeline, file: str, settings: Settings, address: Callable[[], str] | None = None) -> Self:
        """The site of a pipeline.

        Args:
            pipeline: whose pages these are.
            file: its file, for commands that are told.
            settings: of the installation.
            address: of the labeling service; by default the one that runs here, looked up at each connection.

        Returns:
            It.

        """
        name = pipeline.name
        where = address or (lambda: find(settings, name))
        watch = Watch(pipeline, settings, file)
        connections, gateway, lineages = Connections(where, name), Gateway(where), Lineages(pipeline, settings)
        return cls(pipeline, file, settings, connections, gateway, CaseLayout(pipeline), watch, lineages)

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.pipeline.name

    @property
    def title(self) -> str:
        """What people call it."""
        return self.pipeline.title or self.pipeline.name

    @property
    def times(self) -> Times:
        """Times of its zone."""
        return Times.of(self.pipeline.label.zone)

    async def close(self) -> None:
        """Leave the service and Kafka."""
        await self.connections.close()
        await self.gateway.close()
        await self.watch.close()
        await self.lineages.close()
