"""A labeling service and a Label Studio with the bridge between them: `from bridging import Bridged, bridged`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from labeling import PIPELINE
from role_table import World, served
from studio import OWNER, TOKEN, standing_in

from labeling_grpc.client import LabelingAdminClient, LabelingClient
from labeling_grpc.client.values import CaseDetails
from labeling_grpc.label_studio.api import LabelStudioApi
from labeling_grpc.label_studio.bridge import Bridge, Pace
from labeling_grpc.label_studio.decisions import standing
from labeling_grpc.label_studio.declared import Clients, ledger_path, names_of
from labeling_grpc.label_studio.hints import Hints
from labeling_grpc.label_studio.ledger import Ledger
from labeling_grpc.label_studio.offering import Offering, Terms
from labeling_grpc.label_studio.settling import Settler
from labeling_grpc.label_studio.tasks import TaskMaker, project_fields
from labeling_grpc.security.masks import masks
from labeling_grpc.security.roles import Role
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Label
from tidemark.runtime.settings import Settings
from tidemark.runtime.web_addresses import web_address

TABLE = """
[label_studio]
url = "http://127.0.0.1:1"
project = 1
token_env = "LABEL_STUDIO_TOKEN"
private_host = "127.0.0.1"
offered = 3
[label_studio.users]
"ada@bank.example" = "ada"
"""


def bridged_pipeline(more: str = "") -> Pipeline:
    """The queue's pipeline with a bridge."""
    return parse(PIPELINE.replace("NAME", "pay") + TABLE + more, "test.toml")


@dataclass
class Bridged:
    """The three of them. studio: the stand-in, or what has a real one's `url`.  now: the bridge's clock, seconds."""

    world: World
    studio: Any
    folder: Path
    project: int
    boss: LabelingClient
    admin: LabelingAdminClient
    token: str = TOKEN
    pipeline: Pipeline = field(default_factory=bridged_pipeline)
    offered: int = 3
    lease: float = 600.0
    now: float = 1_000.0
    hints: Hints = field(default_factory=Hints)
    bridge: Bridge | None = None
    ledger: Ledger | None = None
    clients: Clients | None = None

    @property
    def settings(self) -> Settings:
        return Settings(state_dir=self.folder).at("127.0.0.1:9")

    def begin(self) -> Bridge:
        """A bridge that begins, in the place of the one that ran."""
        self.end()
        address = web_address(self.studio.url)
        api = LabelStudioApi(address, lambda: self.token, private=True, sleep=lambda _: None)
        self.clients = Clients("pay", self.settings)
        self.clients.identify()
        self.ledger = Ledger(ledger_path(self.settings, "pay"), f"{self.project}")
        assert self.pipeline.label_studio is not None
        names = names_of(self.pipeline, self.pipeline.label_studio)
        settler = Settler("pay", names, api, self.clients, self.ledger)
        make = TaskMaker(self.pipeline, names, masks(self.pipeline).get(Role.ANNOTATOR))
        clock = lambda: self.now  # noqa: E731 - it moves
        terms = Terms(self.project, self.offered, self.lease)
        offering = Offering(terms, api, self.clients.queue, self.ledger, make, settler.settle, clock=clock)
        pace = Pace(poll=30.0, renew=60.0, lease=self.lease)
        self.bridge = Bridge(self.project, pace, api, self.ledger, settler, offering, self.hints, clock=clock)
        return self.bridge

    def end(self) -> None:
        """The bridge is killed: nothing of it is left but its ledger."""
        if self.ledger is not None:
            self.ledger.close()
        if self.clients is not None:
            self.clients.close()
        self.bridge = self.ledger = self.clients = None

    def turn(self, after: float = 100.0) -> None:
        """One turn, so many seconds later."""
        self.now += after
        (self.bridge or self.begin()).turn()

    def task(self, event_id: str) -> dict[str, Any]:
        """The newest task of an event."""
        newest: dict[str, Any] = self.studio.of_event(event_id)[-1]
        return newest

    def labels(self) -> list[Label]:
        """All that the queue has published, in order."""
        return list(self.admin.export())

    def case(self, event_id: str) -> CaseDetails:
        """A case as it is."""
        return self.boss.case(event_id, most=100)

    def label(self, event_id: str) -> tuple[str, str, str] | None:
        """Status, label and annotator of what stands of a case."""
        stands = standing(self.case(event_id).answers)
        return None if stands is None else (stands.status, stands.label or "", stands.annotator)


@contextmanager
def bridged(folder: Path) -> Iterator[Bridged]:
    """A service with tokens, a stand-in for Label Studio with a project, and a bridge that has not begun."""
    with standing_in() as studio:
        project = studio.answer("POST", "/api/projects/", project_fields("pay", ("genuine", "fraud")))[1]["id"]
        with bridged_to(studio, project, folder) as built:
            yield built


@contextmanager
def bridged_to(studio: Any, project: int, folder: Path, token: str = TOKEN) -> Iterator[Bridged]:  # noqa: ANN401
    """A service with tokens, and a bridge to a project of a Label Studio, which has not begun."""
    with served(folder) as world:
        own = world.tokens.create(Role.ADMIN, "label-studio", 10**12).secret
        boss = world.tokens.create(Role.ADMIN, "boss", 10**12).secret
        with (
            patch.dict(os.environ, {"TIDEMARK_LABELING_TOKEN": own, "LABEL_STUDIO_TOKEN": token}),
            LabelingClient(world.server.address, "boss", token=boss) as client,
            LabelingAdminClient(world.server.address, "boss", token=boss) as admin,
        ):
            built = Bridged(world, studio, folder, project, client, admin, token)
            try:
                yield built
            finally:
                built.end()


__all__ = ["OWNER", "Bridged", "bridged", "bridged_pipeline", "bridged_to"]
