"""What docs/how-to/webhooks.md shows: its tables are right, and its receiver takes what is sent and nothing else."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from hooking import SECRET
from models import pipeline_text

from support import wait_until
from tidemark.pipeline import parse
from tidemark.runtime.web_addresses import web_address
from tidemark.webhooks.client import Attempt, Client
from tidemark.webhooks.messages import TYPES
from tidemark.webhooks.requests import Requests
from tidemark.webhooks.signing import keys_of, new_secret

PAGE: Final = (Path(__file__).parents[2] / "docs" / "how-to" / "webhooks.md").read_text(encoding="utf-8")
BLOCKS: Final = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))


def test_the_tables_of_the_page_are_right_and_name_each_event() -> None:
    pipeline = parse(pipeline_text(classes=("genuine", "fraud"), extra=BLOCKS["webhooks"]), "p.toml")
    assert [each.name for each in pipeline.webhooks] == ["case-system", "on-call"]
    assert sorted(re.findall(r"^\| `([a-z._]+)` \| [a-z]", PAGE, re.MULTILINE)[: len(TYPES)]) == sorted(TYPES)


def test_the_receiver_of_the_page_takes_what_is_signed_once_and_refuses_all_else(tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(BLOCKS["receiver.py"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "receiver.py")],
        env={"ON_CALL_SECRET": SECRET, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def sent(secret: str, *, at: float | None = None, body: bytes = b'{"type": "drift.detected"}') -> Attempt:
        client = Client(web_address(f"http://127.0.0.1:{port}/"), private=True)
        requests = Requests(client, lambda: keys_of(secret), "tidemark")
        try:
            return requests.send("evt_1", body, time.time() if at is None else at)
        finally:
            requests.close()

    try:
        wait_until(lambda: sent(SECRET).delivered, "the receiver does not listen")
        assert sent(SECRET).delivered
        assert sent(f"{new_secret()} {SECRET}").delivered, "while one secret takes another's place"
        assert sent(new_secret()).status == 401
        assert sent(SECRET, at=time.time() - 1_000).status == 401
    finally:
        process.kill()
        told, _ = process.communicate()
    assert told == "drift.detected\n", "an event that comes again is taken once"


@pytest.mark.parametrize("promise", ["at least once", "webhook-id", "410", "Retry-After"])
def test_the_page_says_what_a_receiver_must_know(promise: str) -> None:
    assert promise in PAGE
