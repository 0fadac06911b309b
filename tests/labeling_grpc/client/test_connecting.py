"""Whoever reaches the service over a slow network, or on a busy machine, reaches it."""

from __future__ import annotations

from pathlib import Path

from labeling import pipeline
from slow_network import slow_network

from labeling_grpc.client import LabelingClient
from labeling_grpc.server import serve
from tidemark.runtime.settings import Settings


def test_a_service_is_reached_whose_first_word_takes_longer_than_a_second(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    with (
        serve(pipeline("pay"), settings) as server,
        slow_network(server.address) as address,
        LabelingClient(address, "ada", patience=0) as client,
    ):
        assert client.stats().waiting == 0
