"""The table role x call x object, and what makes a request of each cell: asked over gRPC and over REST."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.roles import Role
from labeling_grpc.security.tokens import TokenStore
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc, labeling_pb2_grpc
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.runtime.settings import Settings

ME, OTHER = "ada", "ben"
_number = itertools.count()


@dataclass
class World:
    """A running service, and what was prepared in it for one call."""

    server: LabelingServer
    tokens: TokenStore
    queue: labeling_pb2_grpc.LabelingServiceStub
    admin: admin_pb2_grpc.LabelingAdminServiceStub

    def token(self, role: Role, who: str = ME) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.tokens.create(role, who, 10**12).secret}"),)

    def ask(self, metadata: tuple[tuple[str, str], ...], method: str, request: Message) -> Any:  # noqa: ANN401
        stub = self.queue if hasattr(self.queue, method) else self.admin
        return getattr(stub, method)(request, metadata=metadata, timeout=10)

    def fresh(self) -> str:
        """Event id of a case that waits, alone."""
        start = self.server.store.position("intake", SOURCE)
        asked = candidate(next(_number))
        self.server._writer.call(TakeIn(SOURCE, start, (start or 0) + 1, arrivals([asked], start or 0)))
        return asked.event_id

    def leased(self, who: str) -> pb.Lease:
        self.fresh()
        (task,) = self.ask(self.token(Role.ADMIN), "LeaseTasks", pb.LeaseTasksRequest(annotator=who)).tasks
        return pb.Lease(event_id=task.case.event_id, lease_token=task.lease_token)

    def golden(self) -> str:
        """A case that is gold."""
        event_id = self.answered(OTHER)[0].event_id
        self.ask(self.token(Role.ADMIN), "AddGold", gold(event_id))
        return event_id

    def seen(self, who: str) -> str:
        """An annotator who has answered before."""
        self.answered(who)
        return who

    def answered(self, who: str) -> tuple[pb.Lease, str]:
        """A lease that ended with an answer, and the answer's id."""
        lease = self.leased(who)
        request = pb.SubmitLabelsRequest(annotations=[answer(lease)])
        (result,) = self.ask(self.token(Role.ADMIN), "SubmitLabels", request).results
        return lease, result.annotation_id


@contextmanager
def served(folder: Path) -> Iterator[World]:
    with serve(pipeline("pay"), Settings(state_dir=folder).at("127.0.0.1:9"), options=Options(tokens=True)) as server:
        tokens = sqlite_tokens(folder / "pipelines" / "pay" / "labeling.db")
        with grpc.insecure_channel(server.address) as channel:
            yield World(
                server,
                tokens,
                labeling_pb2_grpc.LabelingServiceStub(channel),
                admin_pb2_grpc.LabelingAdminServiceStub(channel),
            )
        tokens.close()


def answer(lease: pb.Lease, label: str = "fraud") -> pb.Annotation:
    return pb.Annotation(event_id=lease.event_id, lease_token=lease.lease_token, label=label)


def said(event_id: str, who: str = "") -> pb.AddCommentRequest:
    return pb.AddCommentRequest(event_id=event_id, annotator=who, text="look", idempotency_key=f"k{next(_number)}")


def gold(event_id: str) -> admin_pb2.AddGoldRequest:
    return admin_pb2.AddGoldRequest(answers=[admin_pb2.GoldAnswer(event_id=event_id, label="fraud")])


Maker = Callable[[World], Message]
ALL = frozenset(Role)
WORK = ALL - {Role.VIEWER}
PEOPLE = frozenset({Role.REVIEWER, Role.ADMIN})
BOSS = frozenset({Role.ADMIN})
SEE = ALL - {Role.ANNOTATOR}

TABLE: Final[list[tuple[str, str, frozenset[Role], Maker]]] = [
    # call, object, who may, request
    ("LeaseTasks", "for oneself", WORK, lambda _: pb.LeaseTasksRequest()),
    ("LeaseTasks", "for another", BOSS, lambda _: pb.LeaseTasksRequest(annotator=OTHER)),
    ("LeaseTasks", "for review", PEOPLE, lambda _: pb.LeaseTasksRequest(review=True)),
    ("SubmitLabels", "own lease", WORK, lambda w: pb.SubmitLabelsRequest(annotations=[answer(w.leased(ME))])),
    ("SubmitLabels", "another's lease", BOSS, lambda w: pb.SubmitLabelsRequest(annotations=[answer(w.leased(OTHER))])),
    (
        "SubmitLabels",
        "own and another's lease",
        BOSS,
        lambda w: pb.SubmitLabelsRequest(annotations=[answer(w.leased(ME)), answer(w.leased(OTHER))]),
    ),
    (
        "SubmitLabels",
        "own closed case",
        WORK,
        lambda w: pb.SubmitLabelsRequest(annotations=[answer(w.answered(ME)[0])]),
    ),
    (
        "SubmitLabels",
        "another's closed case",
        BOSS,
        lambda w: pb.SubmitLabelsRequest(annotations=[answer(w.answered(OTHER)[0])]),
    ),
    (
        "SubmitLabels",
        "next for another",
        BOSS,
        lambda w: pb.SubmitLabelsRequest(
            annotations=[answer(w.leased(ME))], next=pb.LeaseTasksRequest(annotator=OTHER)
        ),
    ),
    ("Skip", "own lease", WORK, lambda w: pb.SkipRequest(lease=w.leased(ME))),
    ("Skip", "another's lease", BOSS, lambda w: pb.SkipRequest(lease=w.leased(OTHER))),
    ("RenewLease", "own lease", WORK, lambda w: pb.RenewLeaseRequest(leases=[w.leased(ME)])),
    ("RenewLease", "another's lease", BOSS, lambda w: pb.RenewLeaseRequest(leases=[w.leased(OTHER)])),
    ("Release", "own lease", WORK, lambda w: pb.ReleaseRequest(leases=[w.leased(ME)])),
    ("Release", "another's lease", PEOPLE, lambda w: pb.ReleaseRequest(leases=[w.leased(OTHER)])),
    ("AmendLabel", "own answer", WORK, lambda w: pb.AmendLabelRequest(annotation_id=w.answered(ME)[1], retract=True)),
    (
        "AmendLabel",
        "another's answer",
        PEOPLE,
        lambda w: pb.AmendLabelRequest(annotation_id=w.answered(OTHER)[1], retract=True),
    ),
    (
        "AmendLabel",
        "in another's name",
        BOSS,
        lambda w: pb.AmendLabelRequest(annotation_id=w.answered(OTHER)[1], annotator=OTHER, retract=True),
    ),
    ("AddComment", "case in own hands", WORK, lambda w: said(w.leased(ME).event_id)),
    ("AddComment", "case that was in own hands", WORK, lambda w: said(w.answered(ME)[0].event_id)),
    ("AddComment", "case in another's hands", PEOPLE, lambda w: said(w.leased(OTHER).event_id)),
    ("AddComment", "case that was in another's hands", PEOPLE, lambda w: said(w.answered(OTHER)[0].event_id)),
    ("AddComment", "case that waits", PEOPLE, lambda w: said(w.fresh())),
    ("AddComment", "in another's name", BOSS, lambda w: said(w.fresh(), OTHER)),
    ("Escalate", "own lease", WORK, lambda w: pb.EscalateRequest(lease=w.leased(ME), reason="hard")),
    ("Escalate", "another's lease", BOSS, lambda w: pb.EscalateRequest(lease=w.leased(OTHER), reason="hard")),
    ("GetCase", "in own hands", ALL, lambda w: pb.GetCaseRequest(event_id=w.leased(ME).event_id)),
    ("GetCase", "that was in own hands", ALL, lambda w: pb.GetCaseRequest(event_id=w.answered(ME)[0].event_id)),
    ("GetCase", "in another's hands", SEE, lambda w: pb.GetCaseRequest(event_id=w.leased(OTHER).event_id)),
    ("GetCase", "that waits", SEE, lambda w: pb.GetCaseRequest(event_id=w.fresh())),
    ("ListCases", "all", SEE, lambda _: pb.ListCasesRequest()),
    ("GetProgress", "own figures", ALL, lambda _: pb.GetProgressRequest()),
    (
        "GetProgress",
        "another's figures",
        SEE - {Role.PROGRAM},
        lambda w: pb.GetProgressRequest(annotator=w.seen(OTHER)),
    ),
    ("Stats", "the queue", ALL, lambda _: pb.StatsRequest()),
    ("EndSession", "own token", ALL, lambda _: pb.EndSessionRequest()),
    ("ListPipelines", "all", ALL, lambda _: admin_pb2.ListPipelinesRequest()),
    ("ListAnnotators", "all", PEOPLE, lambda _: admin_pb2.ListAnnotatorsRequest()),
    ("UpdateAnnotator", "another", PEOPLE, lambda _: admin_pb2.UpdateAnnotatorRequest(name="eve", quota=3)),
    ("UpdateAnnotator", "oneself", PEOPLE, lambda _: admin_pb2.UpdateAnnotatorRequest(name=ME, quota=0)),
    (
        "UpdateAnnotator",
        "another's state",
        BOSS,
        lambda _: admin_pb2.UpdateAnnotatorRequest(name="eve", state=admin_pb2.ANNOTATOR_STATE_ACTIVE, why="a look"),
    ),
    (
        "AssignCases",
        "case in another's hands",
        PEOPLE,
        lambda w: admin_pb2.AssignCasesRequest(event_ids=[w.leased(OTHER).event_id], annotator="eve", why="a look"),
    ),
    ("PauseQueue", "the queue", BOSS, lambda _: admin_pb2.PauseQueueRequest(why="a look")),
    ("ResumeQueue", "the queue", BOSS, lambda _: admin_pb2.ResumeQueueRequest()),
    (
        "RequeueCases",
        "own closed case",
        PEOPLE,
        lambda w: admin_pb2.RequeueCasesRequest(event_ids=[w.answered(ME)[0].event_id], why="again"),
    ),
    (
        "RequeueCases",
        "case in another's hands",
        PEOPLE,
        lambda w: admin_pb2.RequeueCasesRequest(event_ids=[w.leased(OTHER).event_id], why="again"),
    ),
    ("ExpireCases", "open case", BOSS, lambda w: admin_pb2.ExpireCasesRequest(event_ids=[w.fresh()], why="no")),
    (
        "ImportLabels",
        "open case",
        frozenset({Role.ADMIN, Role.PROGRAM}),
        lambda w: admin_pb2.ImportLabelsRequest(labels=[admin_pb2.ImportedLabel(event_id=w.fresh(), label="fraud")]),
    ),
    ("AddGold", "closed case", BOSS, lambda w: gold(w.answered(ME)[0].event_id)),
    ("ListGold", "all", BOSS, lambda _: admin_pb2.ListGoldRequest()),
    ("RemoveGold", "gold case", BOSS, lambda w: admin_pb2.RemoveGoldRequest(event_id=w.golden())),
    ("ListAudit", "all", BOSS, lambda _: admin_pb2.ListAuditRequest()),
]
CELLS = [(call, about, role) for call, about, _, _ in TABLE for role in Role]
