from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.commands import TakeIn
from labeling_grpc.queue.apply import count
from labeling_grpc.schema import cases
from labeling_grpc.security.audit import verify
from labeling_grpc.security.roles import SERVICES
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.settings import Settings

CALLS = 3_000
SEED = 11
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
UNWRITTEN = {"Escalate", "GetCase", "AddGold", "ListGold", "RemoveGold"}
METHODS = [
    method
    for service in SERVICES
    for method in service.methods
    if not method.server_streaming and method.name not in UNWRITTEN
]
TEXTS = ["", "pay", "ada", "fraud", "genuine", "x" * 200, "\u202e", "\x00", "\n", "a\u200bb", "ü", "🦀", "' OR 1=1 --"]
NUMBERS = [0, 1, -1, 50, 100, 101, 1_000, 60_000, 2**31 - 1, -(2**31)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelingServer]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state")).at("127.0.0.1:9")
    with serve(pipeline("pay"), settings) as running:
        asked = [candidate(i, explore=i % 2 == 0) for i in range(50)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


def scalar(field: Any, chance: random.Random, seen: list[str]) -> Any:  # noqa: ANN401 - of any type
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return chance.choice(seen if seen and chance.random() < 0.6 else TEXTS)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return chance.choice([0.0, 0.5, 1.0, -1.0, float("nan"), float("inf"), 1e308])
        case FieldDescriptor.CPPTYPE_INT64:
            return chance.choice([*NUMBERS, 2**63 - 1, -(2**63), 2_000])
        case _:
            return chance.choice(NUMBERS)


def filled(message: Message, chance: random.Random, seen: list[str], depth: int = 0) -> Message:
    """A message with random fields; `seen` are texts that the service itself gave."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.25:
            continue
        if field.is_repeated:
            for _ in range(chance.choice([0, 1, 1, 2, 5, 120] if depth < 3 else [0, 1])):
                if field.message_type is not None:
                    filled(getattr(message, field.name).add(), chance, seen, depth + 1)
                else:
                    getattr(message, field.name).append(scalar(field, chance, seen))
        elif field.message_type is not None:
            filled(getattr(message, field.name), chance, seen, depth + 1)
        else:
            setattr(message, field.name, scalar(field, chance, seen))
    return message


def called(method: Callable[..., Message], sent: bytes) -> tuple[grpc.StatusCode, str, Message | None]:
    try:
        return grpc.StatusCode.OK, "", method(sent, timeout=10)
    except grpc.RpcError as error:
        call: Any = error
        return call.code(), call.details() or "", None


def texts(response: Message | None) -> list[str]:
    if isinstance(response, pb.LeaseTasksResponse):
        return [text for task in response.tasks for text in (task.lease_token, task.case.event_id)]
    return []


def test_any_request_is_answered_or_refused_with_a_reason_and_the_service_goes_on(server: LabelingServer) -> None:
    chance = random.Random(SEED)
    codes: Counter[grpc.StatusCode] = Counter()
    seen: list[str] = []
    with grpc.insecure_channel(server.address) as channel:
        calls: dict[str, Callable[..., Message]] = {
            method.name: channel.unary_unary(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=bytes,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            for method in METHODS
        }
        for number in range(CALLS):
            method = chance.choice(METHODS)
            request = filled(GetMessageClass(method.input_type)(), chance, seen)
            if isinstance(request, pb.LeaseTasksRequest) and request.wait_ms > 0:
                request.wait_ms = chance.choice([0, 5, 70_000])
            sent = request.SerializeToString()
            if number % 10 == 0:
                sent = bytes(byte if chance.random() > 0.02 else chance.randrange(256) for byte in sent)
            code, details, response = called(calls[method.name], sent)
            codes[code] += 1
            assert code in ALLOWED, f"{method.name} {request}: {code} {details}"
            assert "Traceback" not in details
            seen = [*texts(response), *seen][:40]
    assert set(codes) >= ALLOWED, codes
    stats = server.store.counts
    with server.store.engine.connect() as connection:
        known = connection.execute(sa.select(sa.func.count()).select_from(cases)).scalar_one()
        counted = count(connection)
        trail = verify(connection)
    assert stats.open + stats.answered + stats.skipped + stats.expired + stats.withdrawn == known
    assert replace(counted, event_clock=stats.event_clock) == stats, "the counts are what the tables say"
    assert trail.broken == ""
