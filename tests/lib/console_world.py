"""A console with a real labeling service behind it, and cases of card fraud that look like those of a real pipeline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from labeling import SOURCE, arrivals
from msgspec.structs import replace as struct_replace

from console.app import create_app
from console.options import Options, SignIn
from console.server import ConsoleServer, configuration
from console.site import Site
from labeling_grpc.client import Annotation, LabelingClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options as ServiceOptions
from labeling_grpc.security.oidc.settings import SignInRules
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from support import wait_until
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Candidate
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import CheckedModel
from tidemark.registry.validate import parse as parse_model
from tidemark.runtime.settings import Settings
from tidemark.simulators import simulate
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.manifest import describe
from tidemark.training.trainer import train

NO_KAFKA = "127.0.0.1:9"
"""The discard port: nothing answers there. The queue works all the same."""
FRAUD = Path(__file__).parents[2] / "pipelines" / "fraud.toml"
KEY = b"k" * 32


def fraud_pipeline(extra: str = "") -> Pipeline:
    """The shipped pipeline, with the amount's currency and a zone. extra: more TOML."""
    text = FRAUD.read_text(encoding="utf-8")
    text = text.replace('amount = { type = "float" }', 'amount = { type = "float", unit = "EUR" }')
    return parse(text.replace("[label]\n", '[label]\nzone = "Europe/Berlin"\n') + extra, "fraud.toml")


@dataclass(frozen=True)
class FraudCases:
    """Candidates of some customers in the order of their times, with the truth, and a model that has learnt from it."""

    candidates: list[Candidate]
    truth: list[str]
    model: ActiveModel


@cache
def fraud_cases(customers: int = 4) -> FraudCases:
    """Every payment of some customers as a case, those with fraud first."""
    pipeline = fraud_pipeline()
    simulation = simulate("fraud", 7, 12_000)
    features = backfill(pipeline, simulation.events)
    matrix = features.select(pipeline.feature_names).to_numpy().astype(np.float64)
    labels = simulation.truth["label"].to_list()
    model = _model(pipeline, matrix, labels)
    events = simulation.events.with_row_index("row").with_columns(label=pl.Series(labels))
    busy = (
        events.group_by("customer_id", maintain_order=True)
        .agg(pl.len().alias("n"), (pl.col("label") == "fraud").sum().alias("frauds"))
        .filter((pl.col("n") >= 15) & (pl.col("n") <= 120))
        .sort(pl.col("frauds") >= 2, "n", "customer_id", descending=[True, True, False])
    )
    names = busy["customer_id"].head(customers).to_list()
    rows = [int(row) for row in events.filter(pl.col("customer_id").is_in(names))["row"].to_list()]
    times = simulation.truth["time"].to_list()
    chances = model.probabilities(matrix)
    candidates = []
    for number, row in enumerate(rows):
        record = simulation.events.row(row, named=True)
        values = {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(pipeline.feature_names, matrix[row], strict=True)
        }
        chance = [float(each) for each in chances[row]]
        unsure = 1 - abs(chance[0] - chance[1])
        candidates.append(
            Candidate(
                event_id=f"fraud.raw-0-{row}-0a1b2c3d",
                business_id=str(record["transaction_id"]),
                key=str(record["customer_id"]),
                time=times[row],
                tile=0,
                tile_count=100,
                reason="explore" if number % 9 == 4 else "uncertain",
                priority=unsure,
                inclusion_probability=0.25 if number % 9 == 4 else None,
                policy="badge-1",
                features=values,
                context={name: record[name] for name in pipeline.label.context},
                probabilities=chance,
                uncertainty=unsure,
                model=model.version,
                expires_at=None,
            )
        )
    return FraudCases(candidates, [labels[row] for row in rows], model)


def cases_alike(count: int) -> list[Candidate]:
    """Payments that are alike, and another that is not."""
    like, odd = fraud_cases().candidates[0], fraud_cases().candidates[1]

    def copy(of: Candidate, number: int, **values: Any) -> Candidate:  # noqa: ANN401 - any field
        name = f"T7-{90_000 + number:09}"
        context = of.context | {"transaction_id": name, "amount": 59.13 + number / 4}
        event_id = f"fraud.raw-0-{90_000 + number}-0a1b2c3d"
        return struct_replace(of, event_id=event_id, business_id=name, context=context, **values)

    far = dict.fromkeys(odd.features, 1e6)
    return [
        *(copy(like, number, priority=0.9) for number in range(count)),
        copy(odd, 5_000, features=far, priority=0.0),
    ]


def _model(pipeline: Pipeline, matrix: Any, labels: Sequence[str]) -> ActiveModel:  # noqa: ANN401 - numbers
    target = np.array([pipeline.label.classes.index(label) for label in labels], np.int64)
    part = np.unique(np.concatenate([np.flatnonzero(target)[:150], np.arange(0, 4_000, 5)]))
    ids = tuple(f"fraud.raw-0-{row}-0a1b2c3d" for row in part)
    return champion_of(pipeline, Dataset(matrix[part], target[part], ids, np.arange(len(part)), 0))


def champion_of(pipeline: Pipeline, data: Dataset, version: str = "v000012-89abcdef") -> ActiveModel:
    """A model that has learnt from labels, as if it had been published."""
    schema = ModelSchema.of(pipeline)
    model = train(data, schema, {"num_iterations": 40})
    verdict = Verdict(passed=True, reason="first champion", metric=pipeline.gate_metric)
    manifest = describe(
        model,
        data,
        schema=schema,
        version=version,
        parent=None,
        created_at=0,
        trained_on=[],
        verdict=verdict,
    )
    checked = CheckedModel(
        manifest,
        model.text,
        parse_model(model.text, schema),
        schema.columns(manifest),
        schema.classes,
        schema.places(manifest),
        schema.bounds,
    )
    return ActiveModel(checked)


@dataclass
class World:
    """A running labeling service and the console in front of it."""

    pipeline: Pipeline
    folder: Path
    server: LabelingServer
    settings: Settings
    url: str = ""
    taken: list[Candidate] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Of the pipeline's pages."""
        return f"{self.url}/p/{self.pipeline.name}"

    def site(self) -> Site:
        """The pipeline as the console has it."""
        return Site.of(self.pipeline, f"{self.pipeline.name}.toml", self.settings, lambda: self.server.address)

    def take_in(self, *candidates: Candidate) -> None:
        """Give the queue cases."""
        start = self.server.store.position("intake", SOURCE)
        offset = start or 0
        self.server._writer.call(TakeIn(SOURCE, start, offset + len(candidates), arrivals([*candidates], offset)))
        self.taken += candidates

    def token(self, role: Role | str, who: str = "ada") -> str:
        """A new access token."""
        tokens = sqlite_tokens(self.folder / "pipelines" / self.pipeline.name / "labeling.db")
        try:
            return tokens.create(Role(role), who, 10**12).secret
        finally:
            tokens.close()

    def revoke_all(self) -> None:
        """End every token."""
        tokens = sqlite_tokens(self.folder / "pipelines" / self.pipeline.name / "labeling.db")
        for token in tokens.all():
            tokens.revoke(token.id)
        tokens.close()

    def answered(self, truth: dict[str, str], by: str = "maria", token: str = "") -> None:
        """Answer all that waits."""
        with LabelingClient(self.server.address, by, token=token) as client:
            while tasks := client.lease(100):
                client.submit_many([Annotation(task, truth[task.event_id]) for task in tasks])

    def use(self, model: ActiveModel) -> None:
        """Put a model in force at the service, as if it had been read from Kafka."""
        self.server._champion._current = model


@contextmanager
def world(
    folder: Path,
    pipeline: Pipeline,
    *,
    tokens: bool = False,
    settings: Settings | None = None,
    sign_in: tuple[SignInRules, SignIn] | None = None,
    port: int = 0,
) -> Iterator[World]:
    """A service and the console, on free ports; without `settings` there is no Kafka.

    sign_in: by an identity provider, what the service and the console know of it.  port: of the console.
    """
    settings = settings or Settings(state_dir=folder).at(NO_KAFKA)
    rules, client = (None, None) if sign_in is None else sign_in
    with serve(pipeline, settings, options=ServiceOptions(tokens=tokens, sign_in=rules)) as server:
        its = World(pipeline, folder, server, settings)
        with console([its.site()], port, sign_in=client) as its.url:
            yield its


@contextmanager
def console(
    sites: Sequence[Site], port: int = 0, *, local: bool = True, sign_in: SignIn | None = None
) -> Iterator[str]:
    """The console in a thread of its own; where it is. local: false makes it believe that other machines reach it."""
    listening = socket.create_server(("127.0.0.1", port))
    port = listening.getsockname()[1]
    options = Options(port=port, sign_in=sign_in)
    app = create_app(sites, options, KEY)
    app.state.options = options if local else replace(options, host="0.0.0.0")  # noqa: S104 - believed, not done
    server = ConsoleServer(configuration(app, options), app.state.stopping)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the console did not start")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def fraud_desk(its: World, waiting: int = 40) -> FraudCases:
    """Give the queue the cases of fraud: the older ones answered, the newest waiting."""
    cases = fraud_cases()
    truth = {each.event_id: label for each, label in zip(cases.candidates, cases.truth, strict=True)}
    its.take_in(*cases.candidates[:-waiting])
    its.answered(truth)
    its.take_in(*cases.candidates[-waiting:])
    its.use(cases.model)
    return cases
