"""Who is let in, what is refused and in which words, over gRPC; the windows are those of an engine in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import certificate
from polars.exceptions import PanicException
from slow_network import slow_network
from streaming import NOW_MS, MemoryEngine, purchases, shop

import prediction_grpc.server
from prediction_grpc.client import NotAnsweredError, PredictionClient
from prediction_grpc.server import PredictionServer
from prediction_grpc.service import PredictionService
from prediction_grpc.v1 import prediction_pb2 as pb
from prediction_grpc.v1 import prediction_pb2_grpc
from support import wait_until
from tidemark.asking import Answer, Answerer, Asked, Refusal, Standing
from tidemark.asking.answerer import Why
from tidemark.errors import ConfigError
from tidemark.kafka.partitioning import partition_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import AskSpec, Deduplicate
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.stream.steps import WindowFeaturesStep

EVENT = purchases(1, 1)[0]
TOKEN = "0123456789abcdef" * 2
VARIABLE = "ASK_TOKEN"


class Kept:
    """The windows of an engine in memory."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine

    def steps(self) -> Sequence[WindowFeaturesStep]:
        return [stage.windows for stage in self.engine.processor._stages]

    def standing(self) -> Standing:
        return Standing(frozenset((p.topic, p.index) for p in self.engine.logs), 0.0)


class Ledger:
    """Takes events in place of a Kafka, at once or when it is let go."""

    def __init__(self, *_: object) -> None:
        self.events: list[bytes] = []
        self.told: list[str] = []
        self.holds = False
        self.fails: Refusal | None = None
        self.held: list[Callable[[], None]] = []

    def record(self, answer: Answer, recorded: Callable[[str | Refusal], None]) -> None:
        self.events.append(answer.record.value)
        number = len(self.events) - 1

        def say() -> None:
            recorded(self.fails or f"e{number}")

        if self.holds:
            self.held.append(say)
        else:
            say()

    def let_go(self) -> None:
        self.holds = False
        while self.held:
            self.held.pop(0)()

    def tell(self, answer: Answer, event: str) -> None:  # noqa: ARG002 as the recorder's
        self.told.append(event)

    def close(self) -> None:
        self.let_go()


class World:
    """A server over an engine in memory."""

    def __init__(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = Ledger()
        self.services: list[PredictionService] = []

        def service(*arguments: Any) -> PredictionService:  # noqa: ANN401 as the service's
            self.services.append(PredictionService(*arguments))
            return self.services[-1]

        monkeypatch.setattr(prediction_grpc.server, "PredictionService", service)
        monkeypatch.setattr(prediction_grpc.server, "Recorder", lambda *_: self.ledger)
        self.engine = MemoryEngine(pipeline)
        self.engine.processor.tick(NOW_MS / 1_000)
        settings = Settings.from_environment({})
        self.server = PredictionServer(pipeline, settings, self.engine.models, Kept(self.engine)).start()

    def client(self, *, token: str | None = None, pipeline: str = "", timeout: float = 20.0) -> PredictionClient:
        return PredictionClient(self.server.address, token=token, pipeline=pipeline, timeout=timeout)


def asked(**fields: object) -> AskSpec:
    return AskSpec.model_validate({"address": "127.0.0.1:0", **fields})


@pytest.fixture
def world_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(spec: AskSpec | None = None, **changes: object) -> World:
        pipeline = shop().model_copy(update={"ask": spec or asked(), **changes})
        worlds.append(World(pipeline, monkeypatch))
        return worlds[-1]

    yield make
    for world in worlds:
        world.server.close()


def code_of(refused: pytest.ExceptionInfo[NotAnsweredError]) -> str:
    return refused.value.code


def test_a_process_is_reached_whose_first_word_takes_longer_than_a_second(world_of: Callable[..., World]) -> None:
    with (
        slow_network(world_of().server.address) as address,
        PredictionClient(address, timeout=20.0) as client,
    ):
        assert client.predict(EVENT).event_id == "e0"


def test_a_token_is_shown_as_the_file_of_it_is_read_and_one_that_no_header_can_show_is_refused(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    world = world_of(asked(token_env=VARIABLE))
    with world.client(token=f" {TOKEN}\n") as client:
        assert client.predict(EVENT).event_id == "e0"
    for token in (f"{TOKEN[:16]}\n{TOKEN[16:]}", f"{TOKEN}\u00e9", f"{TOKEN}\x7f"):
        with pytest.raises(ConfigError, match="characters that no token has") as refused:
            world.client(token=token)
        assert TOKEN[:16] not in str(refused.value)


@pytest.mark.parametrize("token", [f"{TOKEN}\u00e9", f"{TOKEN[:16]}\t{TOKEN[16:]}"])
def test_a_token_that_nobody_can_show_is_refused_when_the_process_starts(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv(VARIABLE, token)
    with pytest.raises(ConfigError, match="characters that no token has") as refused:
        world_of(asked(token_env=VARIABLE))
    assert TOKEN[:16] not in str(refused.value)


def test_a_prediction_names_its_event_and_features_are_told_where_they_are_asked_for(
    world_of: Callable[..., World],
) -> None:
    world = world_of()
    with world.client(pipeline="shop") as client:
        short, long = client.predict(EVENT), client.predict(EVENT, with_features=True)
        seen = client.features(EVENT)
    assert (short.event_id, long.event_id) == ("e0", "e1")
    assert (short.model, short.features, short.known) == ("v1", {}, False)
    assert set(short.probabilities) == {"good", "bad"}
    assert sum(short.probabilities.values()) == pytest.approx(1)
    assert long.features == seen.features
    assert seen.features["who_count"] == 0
    assert "who_mean" not in seen.features
    assert [json.loads(event) for event in world.ledger.events] == [EVENT, EVENT]
    assert world.ledger.told == ["e0", "e1"]


def test_who_shows_no_token_of_the_pipeline_is_not_answered(world_of: Callable[..., World], tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n{TOKEN[::-1]}\n")
    world = world_of(asked(token_file=str(file)))
    for token in (None, "", TOKEN[:-1], TOKEN + "0"):
        with world.client(token=token) as client, pytest.raises(NotAnsweredError, match="show a token") as refused:
            client.predict(EVENT)
        assert code_of(refused) == "UNAUTHENTICATED"
    for token in (TOKEN, TOKEN[::-1]):
        with world.client(token=token) as client:
            assert client.predict(EVENT).event_id
    assert len(world.ledger.events) == 2


def test_a_token_that_can_be_guessed_keeps_the_process_from_starting(
    tmp_path: Path, world_of: Callable[..., World]
) -> None:
    file = tmp_path / "tokens"
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="fewer than 16 characters"):
        world_of(asked(token_file=str(file)))


def test_a_port_that_is_taken_keeps_the_process_from_starting(world_of: Callable[..., World]) -> None:
    taken = world_of().server.address
    with pytest.raises(ConfigError, match=f"can't listen on {taken}"):
        world_of(asked(address=taken))


def test_more_calls_than_the_pipeline_allows_are_refused_at_once(world_of: Callable[..., World]) -> None:
    world = world_of(asked(calls=2))
    world.ledger.holds = True
    with world.client() as client:
        threads = [threading.Thread(target=client.predict, args=(EVENT,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(world.ledger.events) == 2, "two calls are not under way")
        with pytest.raises(NotAnsweredError, match=r"2 calls are under way, as many as ask\.calls allows") as refused:
            client.predict(EVENT)
        assert code_of(refused) == "RESOURCE_EXHAUSTED"
        world.ledger.let_go()
        for thread in threads:
            thread.join()
        assert client.predict(EVENT).event_id == "e2"


@pytest.mark.parametrize(("why", "code"), [(Why.NOT_NOW, "UNAVAILABLE"), (Why.EVENT, "INVALID_ARGUMENT")])
def test_an_event_that_could_not_be_recorded_is_not_answered(
    world_of: Callable[..., World], why: Why, code: str
) -> None:
    world = world_of()
    world.ledger.fails = Refusal(why, "it is not recorded: Kafka\x1b is away")
    with world.client() as client, pytest.raises(NotAnsweredError, match=r"is not recorded") as refused:
        client.predict(EVENT)
    assert code_of(refused) == code
    assert "Kafka\\x1b is away" in str(refused.value)
    assert world.ledger.told == []


@contextmanager
def looks_held_up(world: World) -> Iterator[None]:
    """As while a batch enters the windows of every partition."""
    with ExitStack() as stack:
        for state in world.engine.processor._stages[0].windows._states.values():
            stack.enter_context(state.lock)
        yield


def test_calls_that_wait_are_refused_beyond_the_bound_and_answered_together(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    answer = Answerer.answer

    def counted(self: Answerer, asked: Sequence[Asked]) -> list[Answer | Refusal]:
        together.append(len(asked))
        return answer(self, asked)

    monkeypatch.setattr(Answerer, "answer", counted)
    world = world_of(asked(calls=9))
    events = purchases(2, 9)
    with world.client(timeout=60) as client, world.client() as other:
        with looks_held_up(world):
            threads = [threading.Thread(target=client.predict, args=(event,)) for event in events]
            threads[0].start()
            wait_until(lambda: together == [1], "the first call is not looked at")
            for thread in threads[1:]:
                thread.start()
            wait_until(lambda: world.services[0]._under_way == 9, "nine calls are not under way")
            with pytest.raises(NotAnsweredError, match="9 calls are under way") as refused:
                other.features(EVENT)
            assert code_of(refused) == "RESOURCE_EXHAUSTED"
        for thread in threads:
            thread.join()
    assert len(world.ledger.events) == 9
    assert len(together) < 6, "calls that waited together are answered one by one"


def test_a_call_whose_deadline_passes_while_it_waits_is_not_recorded(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    answer = Answerer.answer

    def counted(self: Answerer, asked: Sequence[Asked]) -> list[Answer | Refusal]:
        looks.append(len(asked))
        return answer(self, asked)

    monkeypatch.setattr(Answerer, "answer", counted)
    world = world_of()
    events = purchases(2, 3)
    with world.client() as client, world.client(timeout=0.5) as hasty:
        with looks_held_up(world):
            first = threading.Thread(target=client.predict, args=(events[0],))
            first.start()
            wait_until(lambda: looks == [1], "the first call is not looked at")
            with pytest.raises(NotAnsweredError) as refused:
                hasty.predict(events[1])
            assert code_of(refused) == "DEADLINE_EXCEEDED"
        first.join()
        client.predict(events[2])
    assert [json.loads(event)["id"] for event in world.ledger.events] == [events[0]["id"], events[2]["id"]]


def test_a_call_ends_with_its_caller_s_deadline(world_of: Callable[..., World]) -> None:
    world = world_of()
    world.ledger.holds = True
    with world.client(timeout=0.3) as client, pytest.raises(NotAnsweredError) as refused:
        client.predict(EVENT)
    assert code_of(refused) == "DEADLINE_EXCEEDED"
    world.ledger.let_go()
    with world.client() as client:
        assert client.predict(EVENT).event_id


def test_an_event_that_the_stream_knows_is_answered_and_not_recorded_again(world_of: Callable[..., World]) -> None:
    world = world_of(deduplicate=Deduplicate(key="id", within="1h"))  # type: ignore[arg-type]
    with world.client() as client:
        first = client.predict(EVENT)
        assert not first.known
        home = Partition("shop.raw", partition_of(str(EVENT["who"]).encode(), 3), "0000aaaa")
        world.engine.produce(home, world.ledger.events[0])
        world.engine.drain()
        again = client.predict(EVENT)
    assert (again.known, again.event_id) == (True, "")
    assert len(world.ledger.events) == 1


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"event": b"{", "topic": ""}, "INVALID_ARGUMENT", "decode: "),
        ({"event": b"\xff\x00", "topic": ""}, "INVALID_ARGUMENT", "decode: "),
        ({"event": json.dumps(EVENT | {"at": "soon"}).encode(), "topic": ""}, "INVALID_ARGUMENT", "at"),
        ({"event": EVENT, "topic": "other.raw"}, "INVALID_ARGUMENT", "the pipeline's raw topics are shop.raw"),
        ({"event": b"x" * 1_000_001, "topic": ""}, "INVALID_ARGUMENT", "has 1,000,001 bytes, and at most 1,000,000"),
        ({"event": b"x" * 1_990_000, "topic": ""}, "INVALID_ARGUMENT", "has 1,990,000 bytes, and at most 1,000,000"),
        ({"event": b"x" * 2_010_000, "topic": ""}, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_and_it_is_not_recorded(
    request_: dict[str, Any], code: str, words: str, world_of: Callable[..., World]
) -> None:
    world = world_of()
    with world.client() as client, pytest.raises(NotAnsweredError, match=words) as refused:
        client.predict(request_["event"], topic=request_["topic"])
    assert code_of(refused) == code
    assert world.ledger.events == []


def test_a_call_for_another_pipeline_is_refused(world_of: Callable[..., World]) -> None:
    world = world_of()
    with world.client(pipeline="pay") as client, pytest.raises(NotAnsweredError, match="pipeline 'shop'") as refused:
        client.features(EVENT)
    assert code_of(refused) == "NOT_FOUND"


def test_a_bug_is_told_without_its_words(
    world_of: Callable[..., World], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret of the event")

    monkeypatch.setattr(Answerer, "answer", broken)
    world = world_of()
    with world.client() as client, pytest.raises(NotAnsweredError, match="its log tells") as refused:
        client.predict(EVENT)
    assert code_of(refused) == "INTERNAL"
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_bytes_that_are_no_message_end_their_call_alone(world_of: Callable[..., World]) -> None:
    world = world_of()
    with grpc.insecure_channel(world.server.address) as channel:
        call = channel.unary_unary(
            "/prediction_grpc.v1.PredictionService/Predict", bytes, pb.PredictResponse.FromString
        )
        with pytest.raises(grpc.RpcError):
            call(b"\xff\xff\xff", timeout=20)
        stub = prediction_pb2_grpc.PredictionServiceStub(channel)
        event = pb.AskedEvent(json=json.dumps(EVENT).encode())
        assert stub.Predict(pb.PredictRequest(event=event), timeout=20).event_id == "e0"


def test_where_callers_need_a_certificate_none_is_answered_without(
    world_of: Callable[..., World], tmp_path: Path
) -> None:
    own = certificate(tmp_path)
    files = {"tls_cert": str(own.certificate), "tls_key": str(own.key), "tls_ca": str(own.certificate)}
    world = world_of(asked(**files))
    shown = PredictionClient(
        world.server.address, timeout=20, authority=own.certificate, certificate=(own.certificate, own.key)
    )
    with shown as client:
        assert client.predict(EVENT).event_id
    for authority in (None, own.certificate):
        with (
            PredictionClient(world.server.address, timeout=2, authority=authority) as client,
            pytest.raises(NotAnsweredError),
        ):
            client.predict(EVENT)
    assert len(world.ledger.events) == 1


def test_a_certificate_that_is_not_there_keeps_the_process_from_starting(
    world_of: Callable[..., World], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="each must be a PEM file"):
        world_of(asked(tls_cert=str(tmp_path / "no.pem"), tls_key=str(tmp_path / "no.key")))


def test_a_token_is_not_sent_to_another_machine_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="could be read on the way"):
        PredictionClient("192.0.2.1:50061", token=TOKEN)


def test_a_panic_while_calls_are_answered_is_told_to_their_callers_and_the_next_are_answered(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What Polars raises where it has a bug is no `Exception`."""
    world, answer = world_of(), Answerer.answer
    panics = [PanicException("a bug of theirs"), None]

    def panicking(answerer: Answerer, asked: Sequence[Asked]) -> list[Answer | Refusal]:
        if panic := panics.pop(0):
            raise panic
        return answer(answerer, asked)

    monkeypatch.setattr(world.services[0]._turns, "_answer", lambda asked: panicking(world.server._answerer, asked))
    with world.client() as client:
        with pytest.raises(NotAnsweredError, match="a bug in the stream process") as refused:
            client.predict(EVENT)
        assert code_of(refused) == "INTERNAL"
        assert "PanicException" not in str(refused.value)
        assert client.predict(EVENT).event_id == "e0"
    assert any(
        "panicking" in record.getMessage() or "test_service.py" in record.getMessage() for record in caplog.records
    )
