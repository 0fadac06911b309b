"""Every setting that the documentation names has its effect, and every one that there is is documented."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from dataflows.engine.config import commit_interval
from tidemark.errors import ConfigError
from tidemark.kafka import consumer_config, producer_config
from tidemark.runtime.settings import FIXED, Settings
from tidemark.runtime.variables import VARIABLES
from tools.reference.settings import settings_page

_ROOT = Path(__file__).parents[3]
_KAFKA = {"TIDEMARK_BOOTSTRAP_SERVERS": "kafka.example:9093"}
_VARIABLE = re.compile(r"TIDEMARK_[A-Z]+(?:_[A-Z]+)*")
_OF_PARTS = {"TIDEMARK_LABELING_", "TIDEMARK_CONSOLE_"}
_PREFIXES = {"TIDEMARK_KAFKA", "TIDEMARK_LABELING"}
_PUT_TOGETHER = {f"TIDEMARK_LABELING_TLS_{part}" for part in ("CERT", "KEY", "CA")}  # held by test_tls.py
_SECOND_NAMES = [
    "request.required.acks",
    "metadata.broker.list",
    "message.send.max.retries",
    "delivery.timeout.ms",
    "max.in.flight",
]


def _documented() -> set[str]:
    pages = [_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md")]
    texts = [settings_page(), *(page.read_text(encoding="utf-8") for page in pages)]
    return {name for text in texts for name in _VARIABLE.findall(text)}


def _read_by_code() -> set[str]:
    """Names in the code's texts, docstrings apart: a name that is only explained there is read by nobody."""
    found: set[str] = set()
    for folder in ("tidemark", "dataflows", "labeling_grpc", "console"):
        for path in (_ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            prefix = next(
                (
                    str(node.value.value)
                    for node in ast.walk(tree)
                    if isinstance(node, ast.AnnAssign)
                    and isinstance(node.target, ast.Name)
                    and node.target.id == "PREFIX"
                    and isinstance(node.value, ast.Constant)
                ),
                "",
            )
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
                    if _VARIABLE.fullmatch(node.value):
                        found.add(node.value)
                    elif prefix in _OF_PARTS and re.fullmatch(r"[A-Z]+(?:_[A-Z]+)*", node.value):
                        found.add(prefix + node.value)
    return found


def test_what_is_documented_is_read_and_what_is_read_is_documented() -> None:
    of_clients = {name for name in _documented() if name.startswith("TIDEMARK_KAFKA_")}
    of_files = {name for name in _documented() if name.endswith("_FILE")}
    folders = {f"TIDEMARK_{name}" for name in ("HOME", "CACHE", "DATA")}
    documented = _documented() - of_clients - of_files - _PREFIXES
    read = _read_by_code() | folders
    assert documented - read - _PUT_TOGETHER == set()
    labeling = {name for name in read if name.startswith("TIDEMARK_LABELING_")}
    assert {name for name in read - labeling - documented if name.strip("_") not in _PREFIXES} == set()


def test_the_reference_has_every_setting_that_the_code_reads_and_no_other() -> None:
    tabled = {each.name.removesuffix("_…") for each in VARIABLES}
    read = {name.strip("_") for name in _read_by_code()} | _PUT_TOGETHER
    read |= {f"TIDEMARK_{name}" for name in ("HOME", "CACHE", "DATA")}
    read -= {"TIDEMARK_LABELING", "TIDEMARK_LABELING_TLS"} | {name for name in read if name.endswith("_FILE")}
    assert read == tabled - {"TIDEMARK_KAFKA"}
    assert all(each.meaning.endswith(".") for each in VARIABLES)


@pytest.mark.parametrize(("name", "folder"), [("HOME", "user_data_dir"), ("CACHE", "user_cache_dir")])
def test_the_folders_that_the_reference_names_are_the_ones_that_are_used(
    name: str, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On Linux and on macOS, with the variables of the desktop set or not."""
    default = next(each.default for each in VARIABLES if each.name == f"TIDEMARK_{name}")
    variable, linux, macos = re.findall(r"`([^`]+)`", default)
    variable = variable.removesuffix("/tidemark").removeprefix("$")
    monkeypatch.delenv(variable, raising=False)
    assert getattr(Unix("tidemark", appauthor=False), folder) == str(Path(linux).expanduser())
    assert getattr(MacOS("tidemark", appauthor=False), folder) == str(Path(macos).expanduser())
    monkeypatch.setenv(variable, str(tmp_path))
    assert getattr(Unix("tidemark", appauthor=False), folder) == str(tmp_path / "tidemark")


def test_the_commit_interval_is_what_is_set() -> None:
    assert commit_interval(environment={}) == 0.1
    assert commit_interval(0.5, {}) == 0.5
    assert commit_interval(0.5, {"TIDEMARK_COMMIT_INTERVAL": "20ms"}) == 0.02
    assert commit_interval(environment={"TIDEMARK_COMMIT_INTERVAL": "5s"}) == 5.0


@pytest.mark.parametrize("flow", ["stream", "select", "monitor", "ingest"])
def test_each_flow_that_people_wait_for_has_it(flow: str) -> None:
    assert "commit_interval=commit_interval(" in (_ROOT / "dataflows" / f"{flow}.py").read_text()


@pytest.mark.parametrize("text", ["20", "soon", "6s", "-1s"])
def test_a_commit_interval_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="TIDEMARK_COMMIT_INTERVAL"):
        commit_interval(environment={"TIDEMARK_COMMIT_INTERVAL": text})


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("LINGER_MS", "linger.ms", "77"),
        ("QUEUE_BUFFERING_MAX_MS", "linger.ms", "77"),
        ("COMPRESSION_TYPE", "compression.type", "zstd"),
        ("COMPRESSION_CODEC", "compression.type", "gzip"),
        ("SESSION_TIMEOUT_MS", "session.timeout.ms", "45000"),
        ("HEARTBEAT_INTERVAL_MS", "heartbeat.interval.ms", "700"),
        ("FETCH_QUEUE_BACKOFF_MS", "fetch.queue.backoff.ms", "77"),
        ("FETCH_WAIT_MAX_MS", "fetch.wait.max.ms", "77"),
        ("RETRY_BACKOFF_MS", "retry.backoff.ms", "77"),
        ("QUEUE_BUFFERING_MAX_MESSAGES", "queue.buffering.max.messages", "7777"),
        ("MESSAGE_MAX_BYTES", "message.max.bytes", "7777777"),
        ("CLIENT_ID", "client.id", "mine"),
        ("RECONNECT_BACKOFF_MS", "reconnect.backoff.ms", "77"),
        ("LOG_LEVEL", "log_level", "4"),
    ],
)
def test_a_property_that_is_set_goes_before_our_own(variable: str, name: str, value: str) -> None:
    settings = Settings.from_environment(_KAFKA | {f"TIDEMARK_KAFKA_{variable}": value})
    over: dict[str, Any] = {"fetch_wait_max_ms": 100, "linger_ms": 0, "message_max_bytes": 1_000_000, "log_level": 0}
    for config in (
        consumer_config(settings, group="g", **over),
        producer_config(settings, **over),
        producer_config(settings, transactional_id="t", **over),
    ):
        assert config[name] == value


@pytest.mark.parametrize("name", [*FIXED, *_SECOND_NAMES])
def test_a_property_that_exactly_once_fixes_is_refused_by_name_and_with_its_reason(name: str) -> None:
    variable = "TIDEMARK_KAFKA_" + name.replace(".", "_").upper()
    with pytest.raises(ConfigError, match=f"{variable} can't be set: .* is Tidemark's own; ."):
        Settings.from_environment(_KAFKA | {variable: "1"})


def test_the_documentation_lists_the_fixed_properties_with_their_reasons() -> None:
    listed = dict(re.findall(r"^\| `([a-z.]+)` \| (.*) \|$", settings_page(), re.MULTILINE))
    assert {name: why for name, why in listed.items() if name in FIXED} == FIXED


def test_whatever_we_fix_ourselves_cannot_be_set_and_librdkafka_takes_the_rest() -> None:
    """No value of ours overrides one that was set: what is not refused by name is the operator's."""
    settings = Settings.from_environment(_KAFKA)
    tuned = {"session.timeout.ms", "heartbeat.interval.ms", "fetch.queue.backoff.ms", "retry.backoff.ms", "linger.ms"}
    tuned |= {"compression.type", "queue.buffering.max.messages", "client.id"}
    tuned |= {"reconnect.backoff.ms", "reconnect.backoff.max.ms"}
    consumer = consumer_config(settings, group="g")
    producer = producer_config(settings, transactional_id="t")
    assert {*consumer, *producer} - set(FIXED) == tuned
    Consumer(consumer | {"log_level": 0}).close()
    Producer(producer | {"log_level": 0}).purge()


@pytest.mark.parametrize(("session", "heartbeat"), [("45000", 1_000), ("1500", 500), ("x", 1_000)])
def test_heartbeats_fit_the_session_that_was_set(session: str, heartbeat: int) -> None:
    settings = Settings.from_environment(_KAFKA | {"TIDEMARK_KAFKA_SESSION_TIMEOUT_MS": session})
    assert consumer_config(settings, group="g")["heartbeat.interval.ms"] == heartbeat
