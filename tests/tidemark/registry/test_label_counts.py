"""What labels have told before there is a model is read like a stranger's record."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import published, small_pipeline

from tidemark.errors import ModelError
from tidemark.registry import signature
from tidemark.registry.champion import ChampionKeeper
from tidemark.registry.codec import Registry
from tidemark.registry.label_counts import KEY, LabelCounts, counts_record, read_counts
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema

COUNTS = LabelCounts(classes=["no", "yes"], drawn=[5, 1], chosen=[10, 0])
SECRET = b"sixteen bytes or more"


def headers(value: bytes, secret: bytes | None = None) -> list[tuple[str, bytes | None]]:
    return [(signature.HEADER, signature.digest(KEY, value, secret))]


@pytest.mark.parametrize("secret", [None, SECRET])
def test_counts_come_back_as_they_were_written_and_by_the_names_of_classes(secret: bytes | None) -> None:
    record = counts_record("p.models", COUNTS, secret)
    assert (record.topic, record.key) == ("p.models", KEY)
    assert read_counts(record.value, list(record.headers), secret) == COUNTS
    assert COUNTS.of(["new", "yes", "no"]) == LabelCounts(
        classes=["new", "yes", "no"], drawn=[0, 1, 5], chosen=[0, 0, 10]
    )
    assert read_counts(None, [], secret) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"classes":["no"],"drawn":[1,2],"chosen":[0]}',
        b'{"classes":["no"],"drawn":[1],"chosen":[]}',
        b'{"classes":["no","no"],"drawn":[1,2],"chosen":[0,0]}',
        b'{"classes":["no","yes"],"drawn":[1,-2],"chosen":[0,0]}',
        b'{"classes":["no","yes"],"drawn":[1,1e300],"chosen":[0,0]}',
        b'{"classes":["no","yes"],"drawn":[1,99999999999999999999],"chosen":[0,0]}',
        msgspec.json.encode(
            {"classes": [f"c{i}" for i in range(10_001)], "drawn": [0] * 10_001, "chosen": [0] * 10_001}
        ),
    ],
)
def test_counts_that_we_would_not_write_are_refused(value: bytes) -> None:
    with pytest.raises(ModelError, match="the counts of labels are refused"):
        read_counts(value, headers(value), None)


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_any_bytes(value: bytes) -> None:
    with pytest.raises(ModelError, match="refused"):
        read_counts(value, headers(value), None)


def test_counts_that_are_not_signed_with_the_key_are_refused() -> None:
    value = counts_record("p.models", COUNTS, None).value
    with pytest.raises(ModelError, match="refused"):
        read_counts(value, headers(value or b""), SECRET)
    with pytest.raises(ModelError, match="refused"):
        read_counts(value, [], None)


def test_the_keeper_of_models_knows_the_newest_counts_and_keeps_them_where_a_record_is_refused() -> None:
    refused: list[str] = []
    schema = ModelSchema.of(small_pipeline())
    keeper = ChampionKeeper(schema, None, lambda what, _: refused.append(what))

    def known() -> LabelCounts | None:
        return keeper.label_counts

    assert known() is None
    record = counts_record("p.models", COUNTS, None)
    assert not keeper.take(record.key, record.value, list(record.headers), "here")
    assert not keeper.take(KEY, b"{", headers(b"{"), "there")
    assert known() == COUNTS
    assert refused == ["there"]
    for each in published(schema):
        keeper.take(each.key, each.value, list(each.headers), "published")
    with Sandbox() as sandbox:
        keeper.adopt(sandbox)
    assert keeper.current is not None
    keeper.start_over("0a1b2c3d")
    assert known() is None


def test_whoever_knows_models_alone_passes_counts_over() -> None:
    registry = Registry()
    record = counts_record("p.models", COUNTS, None)
    assert not registry.feed(record.key, record.value, list(record.headers))
    assert not registry.manifests
