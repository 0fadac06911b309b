"""The page about asking at once: its table is taken, and its program asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import pytest
from streaming import purchases

import prediction_grpc.client
from prediction_grpc.client import NotAnsweredError, Predicted
from tidemark.pipeline import parse

PAGE: Final = (Path(__file__).parents[2] / "docs" / "how-to" / "ask-now.md").read_text(encoding="utf-8")
BLOCKS: Final = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))


def test_the_table_of_the_page_is_taken() -> None:
    text = (Path(__file__).parents[2] / "pipelines" / "fraud.toml").read_text(encoding="utf-8")
    pipeline = parse(f"{text}\n{BLOCKS['ask']}", "fraud.toml")
    assert pipeline.ask is not None
    assert f"({pipeline.ask.max_lag // 1_000_000} s)" in PAGE
    assert f"as many calls as `calls` ({pipeline.ask.calls})" in PAGE


class Answering:
    """In place of a client."""

    def __init__(self, address: str, *, timeout: float) -> None:
        assert (address, timeout) == ("127.0.0.1:50061", 0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def predict(self, event: object) -> Predicted:
        assert event == purchases(1, 1)[0]
        return Predicted({}, False, 0.0, False, "shop.raw-0-7-0000aaaa", "v1", {"good": 0.75, "bad": 0.25}, 0.5)


class Refusing(Answering):
    """One that is refused."""

    def predict(self, event: object) -> Predicted:
        raise NotAnsweredError("UNAVAILABLE", f"not now, {len(str(event)) > 0}")


@pytest.mark.parametrize(
    ("kind", "shown"),
    [(Answering, "shop.raw-0-7-0000aaaa v1 {'good': 0.75, 'bad': 0.25}\n"), (Refusing, "UNAVAILABLE not now, True\n")],
)
def test_the_program_of_the_page_asks_and_says_what_it_was_told(
    kind: Callable[..., Any], shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prediction_grpc.client, "PredictionClient", kind)
    exec(compile(BLOCKS["client"], "client", "exec"), {"EVENT": purchases(1, 1)[0]})  # noqa: S102 of our own page
    assert capsys.readouterr().out == shown
