"""Names of categories in what the service sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeling import PIPELINE, SOURCE, arrivals, candidate

from labeling_grpc.api.category_names import Categories, CategoryNames
from labeling_grpc.client import LabelingClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import parse
from tidemark.pipeline.definitions import feature_ids
from tidemark.runtime.settings import Settings

PAY = parse(
    PIPELINE.replace("NAME", "pay").replace(
        'customer = { type = "string" }', 'customer = { type = "string" }\nchannel = { type = "string" }'
    )
    + '[[features]]\nname = "channel"\ncategories = ["shop", "online", "phone"]\n',
    "test.toml",
)
CATEGORIES = Categories(PAY)
IDS = feature_ids(PAY)


def named(value: float | None, definitions: dict[str, str] | None = None, name: str = "channel") -> str:
    feature = pb.Feature(name=name, value=value)
    CATEGORIES.response().add([feature], definitions)
    return feature.category


def test_a_number_is_named_by_the_category_that_it_stands_for() -> None:
    assert [named(0.0), named(1.0), named(2.0)] == ["shop", "online", "phone"]


@given(st.one_of(st.none(), st.floats().filter(lambda value: value not in {0.0, 1.0, 2.0})))
def test_what_is_the_number_of_no_category_has_no_name(value: float | None) -> None:
    assert named(value) == ""


def test_a_number_of_an_earlier_list_of_categories_is_not_named_by_the_list_of_today() -> None:
    assert named(1.0, IDS) == "online"
    assert named(1.0, IDS | {"channel": "00000000"}) == ""
    assert named(1.0, {}) == ""
    assert named(1.0, None, "amount") == ""


def test_names_have_a_bound_together() -> None:
    names = CategoryNames(CATEGORIES, room=20)
    features = [pb.Feature(name="channel", value=1.0) for _ in range(5)]
    before = sum(feature.ByteSize() for feature in features)
    names.add(features, None)
    assert [feature.category for feature in features] == ["online", "online", "", "", ""]
    assert sum(feature.ByteSize() for feature in features) - before <= 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelingServer]:
    with serve(PAY, Settings(state_dir=tmp_path).at("127.0.0.1:9")) as running:
        yield running


def test_clients_are_told_the_names_wherever_they_are_told_features(server: LabelingServer) -> None:
    over: dict[str, Any] = {"key": "C", "definitions": IDS}
    asked = [candidate(number, features={"amount": 1.0, "channel": float(number)}, **over) for number in range(2)]
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
    with LabelingClient(server.address, "ada") as client:
        first, second = client.lease(2)
        client.submit(first, "fraud")
        details = client.case(second.event_id)
        listed = list(client.cases())
    assert (first.categories, second.categories) == ({"channel": "shop"}, {"channel": "online"})
    assert [record.case.categories["channel"] for record in listed] == ["shop", "online"]
    assert [point.categories for point in details.history] == [{"channel": "shop"}]
    assert [case.categories for case in details.similar] == [{"channel": "shop"}]
