"""Records that anybody wrote to the flows' own topics: dead letters, whatever is in them, never the end of a flow."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import MemoryEngine, Models, load_rows, purchases, shop

from tidemark.errors import RecordError, TopicError
from tidemark.formats.arrow import from_ipc, to_ipc
from tidemark.formats.arrow_bounds import UnboundedError, check_stream
from tidemark.runtime.processor import UNKNOWN_TIME, Batch, Headers, Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.stream.checkpoint import unpack
from tidemark.stream.hops import decode_hop, latest_time

PROPOSALS = Partition("shop.proposals", 0, "0000cccc")


def made(topic: str) -> tuple[MemoryEngine, bytes, Headers]:
    """An engine at work, and the first record that it wrote to a topic."""
    engine = MemoryEngine(shop(keys=2), Models())
    load_rows(engine, purchases(8, 60))
    engine.drain()
    if topic == "shop.proposals":
        output = next(output for _, output in engine.of_topic(topic))
        return engine, output.value or b"", list(output.headers)
    record = next(log[0] for partition, log in engine.logs.items() if partition.topic == topic and log)
    return engine, record.value or b"", record.headers


HOP_ENGINE, HOP, HOP_HEADERS = made("shop.by-place")
_, PROPOSAL, PROPOSAL_HEADERS = made("shop.proposals")


def batch(partition: Partition, value: bytes | None, headers: Headers | None) -> Batch:
    here, now = np.array([10**6], np.int64), np.array([0], np.int64)
    return Batch(partition, here, now, [None], [value], [headers])


def hop_outputs(value: bytes | None, headers: Headers | None) -> list[Output]:
    partition = Partition("shop.by-place", 0, "0000bbbb")
    processor = HOP_ENGINE.processor
    processor.close(partition)
    processor.open(partition, "")
    own = batch(partition, value, headers)
    processor.event_times(own)
    outputs = processor.process(own)
    processor.metadata(partition)
    return outputs


def select_outputs(value: bytes | None, headers: Headers | None) -> list[Output]:
    processor = SelectProcessor(HOP_ENGINE.pipeline)
    processor.open(PROPOSALS, "")
    outputs = processor.process(batch(PROPOSALS, value, headers))
    processor.metadata(PROPOSALS)
    return outputs


def reasons(outputs: list[Output]) -> list[str]:
    return [dict(o.headers)["reason"].decode() for o in outputs if o.topic == "shop.deadletter"]


def mutations(value: bytes) -> st.SearchStrategy[bytes]:
    """A value with some of its bytes, lengths above all, changed, removed or repeated."""
    lengths = st.sampled_from([b"\xff\xff\xff\x7f", b"\xff" * 8, struct.pack("<q", 10**9), struct.pack("<q", 2**62)])
    change = st.tuples(st.integers(0, len(value) - 1), st.one_of(st.binary(max_size=4), lengths), st.integers(0, 8))

    def apply(changes: list[tuple[int, bytes, int]]) -> bytes:
        mutated = bytearray(value)
        for at, new, removed in changes:
            mutated[at : at + removed] = new
        return bytes(mutated)

    return st.lists(change, min_size=1, max_size=4).map(apply)


@settings(max_examples=300)
@given(mutations(HOP))
def test_a_hop_that_was_tampered_with_is_processed_or_a_dead_letter(value: bytes) -> None:
    assert hop_outputs(value, HOP_HEADERS)


@settings(max_examples=300)
@given(mutations(PROPOSAL))
def test_proposals_that_were_tampered_with_are_taken_in_or_a_dead_letter(value: bytes) -> None:
    select_outputs(value, PROPOSAL_HEADERS)


@settings(max_examples=200)
@given(
    st.sampled_from([header[0] for header in HOP_HEADERS]), st.binary(max_size=40) | mutations(HOP_HEADERS[0][1] or b"")
)
def test_a_hop_with_any_headers_is_processed_or_a_dead_letter(name: str, content: bytes) -> None:
    assert hop_outputs(HOP, [header if header[0] != name else (name, content) for header in HOP_HEADERS])


_WRONG_ROWS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a feature that is text": lambda f: f.with_columns(f_amount=pl.lit("12")),
    "a feature without a value": lambda f: f.with_columns(f_amount=pl.lit(None, pl.Float64)),
    "a key that is a number": lambda f: f.with_columns(_key_0=pl.lit(7)),
    "a key without a value": lambda f: f.with_columns(_key_1=pl.lit(None, pl.String)),
    "a time beyond the year 9999": lambda f: f.with_columns(_time=pl.lit(2**62)),
    "a time before 1970": lambda f: f.with_columns(_time=pl.lit(-1)),
    "an offset below 0": lambda f: f.with_columns(_offset=pl.lit(-5)),
    "an offset without a value": lambda f: f.with_columns(_offset=pl.lit(None, pl.Int64)),
}


@pytest.mark.parametrize("what", _WRONG_ROWS)
def test_a_hop_whose_rows_are_not_the_pipelines_never_ends_the_flow(what: str) -> None:
    value = to_ipc(_WRONG_ROWS[what](pl.read_ipc_stream(HOP)))
    outputs = hop_outputs(value, HOP_HEADERS)
    assert outputs
    if "feature" not in what:  # a feature of another type counts as missing, as after an edit of the pipeline file
        assert len(reasons(outputs)) == len(outputs) == 1


@pytest.mark.parametrize(
    "origins",
    [
        [["shop.raw", 2**70, "0000aaaa"]],
        [["shop.raw", -1, "0000aaaa"]],
        [["other", 0, "0000aaaa"]],
        [["shop.raw", 0, "x"]],
    ],
)
def test_a_hop_from_nowhere_is_a_dead_letter(origins: list[object]) -> None:
    headers = [(name, json.dumps(origins).encode() if name == "origins" else told) for name, told in HOP_HEADERS]
    assert len(reasons(hop_outputs(HOP, headers))) == 1


@pytest.mark.parametrize("told", [b"9" * 31, b"-1", b"9" * 5_000, b"\xff", b"1e9", b""])
def test_a_latest_time_that_is_none_is_not_believed(told: bytes) -> None:
    assert latest_time([("latest", told)]) == UNKNOWN_TIME


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("watermark", 10**30),
        ("watermark", -1),
        ("partition", 10**30),
        ("partition", -1),
        ("tiles", {str(10**30): 1}),
        ("tiles", {"-5": 1}),
        ("tiles", {"57857": 10**30}),
        ("tiles", {"57857": 0}),
        ("first_offset", 10**30),
        ("topic", "x" * 100_000),
        ("model", None),
    ],
)
def test_proposals_whose_numbers_cannot_be_are_a_dead_letter(name: str, wrong: object) -> None:
    meta = json.loads(dict(PROPOSAL_HEADERS)["meta"] or b"") | {name: wrong}
    outputs = select_outputs(PROPOSAL, [("meta", json.dumps(meta).encode())])
    assert len(reasons(outputs)) == len(outputs) == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"f_amount": pl.lit("12")},
        {"c_kind": pl.lit([1, 2])},
        {"score": pl.lit(float("inf"))},
        {"probabilities": pl.lit([0.5, None], pl.List(pl.Float64))},
        {"tile": pl.lit(-1)},
        {"time": pl.lit(2**62)},
        {"event_id": pl.lit(None, pl.String)},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_proposals_whose_rows_cannot_be_are_a_dead_letter(columns: dict[str, pl.Expr]) -> None:
    value = to_ipc(pl.read_ipc_stream(PROPOSAL).with_columns(**columns))
    outputs = select_outputs(value, PROPOSAL_HEADERS)
    assert len(reasons(outputs)) == len(outputs) == 1


def test_a_hop_and_proposals_as_they_were_written_are_taken_in() -> None:
    assert not reasons(hop_outputs(HOP, HOP_HEADERS))
    assert not reasons(select_outputs(PROPOSAL, PROPOSAL_HEADERS))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(compression: Literal["zstd", "lz4"]) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"x": "a" * 1_000_000}).write_ipc_stream(buffer, compression=compression)
    with pytest.raises(RecordError, match="compressed"):
        from_ipc(buffer.getvalue(), "a hop")


@settings(max_examples=300)
@given(st.binary(max_size=300) | mutations(HOP))
def test_any_bytes_are_a_bounded_stream_or_refused(value: bytes) -> None:
    with suppress(UnboundedError):
        check_stream(value)


@given(st.integers(1, 400))
def test_a_stream_is_looked_at_to_its_end_though_its_schema_is_known(missing: int) -> None:
    check_stream(HOP)
    with pytest.raises(UnboundedError):
        check_stream(HOP[:-missing])


def test_a_schema_that_was_refused_is_refused_again() -> None:
    value = to_ipc(pl.DataFrame({"x": pl.Series([[[[[[1]]]]]])}))
    for _ in range(2):
        with pytest.raises(UnboundedError, match="nested deeper"):
            check_stream(value)


@pytest.mark.parametrize(
    "metadata",
    ['{"rewind":-1}', '{"rewind":1' + "0" * 30 + "}", '{"watermark":1e400}', '{"watermark":"x"}', "{", "x"],
)
def test_committed_metadata_that_the_flow_did_not_write_is_refused(metadata: str) -> None:
    with pytest.raises(TopicError, match="not of the stream flow"):
        unpack(Partition("shop.raw", 0, "0000aaaa"), metadata)


def test_what_was_fuzzed_is_a_hop() -> None:
    assert len(decode_hop(HOP, HOP_HEADERS).rows)
