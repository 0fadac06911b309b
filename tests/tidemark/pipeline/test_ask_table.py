"""`[ask]`: what it must say, and what is said where it is wrong."""

from __future__ import annotations

import pytest
from labeling import PIPELINE

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse


def parsed(table: str) -> Pipeline:
    return parse(f"{PIPELINE.replace('NAME', 'pay')}\n[ask]\n{table}\n", "p.toml")


def test_an_empty_table_listens_on_this_machine_and_a_file_without_one_says_nothing_of_it() -> None:
    spec = parsed("").ask
    assert spec is not None
    assert (spec.address, spec.calls, spec.max_lag) == ("127.0.0.1:50061", 200, 10_000_000)
    assert "ask" not in parse(PIPELINE.replace("NAME", "pay"), "p.toml").model_dump()


@pytest.mark.parametrize(
    "table",
    [
        'address = "0.0.0.0:50061"\ntoken_env = "TOKEN"',
        'address = "0.0.0.0:50061"\ntoken_file = "tokens"',
        'address = "[::]:50061"\ntls_cert = "c"\ntls_key = "k"\ntls_ca = "a"',
        'address = "[::1]:0"\ncalls = 1\nmax_lag = "1s"',
    ],
)
def test_who_can_be_told_apart_may_come_from_anywhere(table: str) -> None:
    assert parsed(table).ask is not None


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ('address = "here"', "ask.address: 'here' is not host:port"),
        ('address = "0.0.0.0:50061"', "ask.address: anybody could ask at 0.0.0.0:50061"),
        ('address = "0.0.0.0:50061"\ntls_cert = "c"\ntls_key = "k"', "set token_file or token_env, or tls_ca"),
        ('token_file = "f"\ntoken_env = "E"', "ask.token_env: token_file is given as well"),
        ('tls_cert = "c"', "ask.tls_cert: and tls_key go together"),
        ('tls_ca = "a"', "ask.tls_ca: needs tls_cert and tls_key"),
        ('max_lag = "0s"', "ask.max_lag: '0s' is out of range"),
        ("calls = 0", "ask.calls"),
        ("limit = 3", "ask.limit"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(table: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(table)
    assert wrong in str(refused.value)
