from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling import MovedClock, pipeline

from labeling_grpc.client import LabelingClient
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security import token_throttle
from labeling_grpc.security.authentication import Authenticator
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.roles import Role
from labeling_grpc.security.token_throttle import TokenThrottle, address_of
from labeling_grpc.security.tokens import Issued, Token, TokenStore
from labeling_grpc.server import serve
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.runtime.settings import Settings

LIFE = 10**13


class Counting(TokenStore):
    """A store that counts how often it is asked."""

    looked = 0

    def find(self, secret: str) -> Token | None:
        self.looked += 1
        return super().find(secret)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counting]:
    opened = Counting(sqlite_tokens(tmp_path / "tokens.db").engine)
    yield opened
    opened.close()


def reason(authenticator: Authenticator, secret: str, address: str = "ipv4:192.0.2.1") -> Reason | None:
    """What becomes of a call; None: it is let in."""

    async def called() -> None:
        attempt = authenticator.attempt([("authorization", f"Bearer {secret}")], address)
        await authenticator.admit("Stats", pb.StatsRequest(), attempt)

    try:
        asyncio.run(called())
    except RefusedError as refusal:
        return refusal.reason
    return None


def made(store: TokenStore, who: str = "ada") -> Issued:
    return store.create(Role.ANNOTATOR, who, LIFE)


def test_a_flood_of_invented_tokens_reads_the_database_a_bounded_number_of_times(store: Counting) -> None:
    clock = MovedClock(time=0)
    authenticator = Authenticator(store, throttle=TokenThrottle(clock=lambda: clock.time / 1e6))
    found = [reason(authenticator, f"tdm_invented{number}") for number in range(500)]
    assert store.looked == 2 * token_throttle.STRANGERS_RATE
    assert found == [Reason.UNAUTHENTICATED] * 40 + [Reason.TOO_MANY_CALLS] * 460
    for site in range(30):
        for number in range(40):
            reason(authenticator, f"tdm_{site}x{number}", f"ipv4:192.0.2.{100 + site}")
    assert store.looked == 2 * token_throttle.ALL_STRANGERS_RATE, "however many addresses it comes from"


def test_the_same_invented_token_is_looked_up_once(store: Counting) -> None:
    authenticator = Authenticator(store)
    assert {reason(authenticator, "tdm_guess") for _ in range(300)} == {Reason.UNAUTHENTICATED}
    assert store.looked == 1


@pytest.mark.parametrize("secret", ["", "guess", "tdm_" + "x" * 9_000, "tdm_é", "TDM_x"])
def test_what_can_be_no_token_of_ours_is_never_looked_up(store: Counting, secret: str) -> None:
    authenticator = Authenticator(store)
    assert {reason(authenticator, secret) for _ in range(100)} == {Reason.UNAUTHENTICATED}
    assert store.looked == 0


def test_who_was_let_in_before_is_let_in_while_strangers_flood_from_the_same_address(store: Counting) -> None:
    clock = MovedClock(time=0)
    authenticator = Authenticator(store, throttle=TokenThrottle(clock=lambda: clock.time / 1e6))
    known, fresh = made(store).secret, made(store, "ben").secret
    assert reason(authenticator, known) is None
    for number in range(100):
        reason(authenticator, f"tdm_{number}")
    assert reason(authenticator, known) is None
    assert reason(authenticator, fresh) is Reason.TOO_MANY_CALLS, "it can't be told from an invented one"
    assert reason(authenticator, fresh, "ipv4:198.51.100.7") is None, "from elsewhere it can be looked up"
    clock.time += 1_000_000
    assert reason(authenticator, fresh) is None


def test_any_number_of_valid_tokens_come_from_one_address_at_once(store: Counting) -> None:
    clock = MovedClock(time=0)
    authenticator = Authenticator(store, throttle=TokenThrottle(clock=lambda: clock.time / 1e6))
    secrets = [made(store, f"a{number}").secret for number in range(120)]
    assert {reason(authenticator, secret) for secret in secrets} == {None}


def test_a_token_that_was_let_in_is_refused_from_its_revocation_on(store: Counting) -> None:
    authenticator = Authenticator(store)
    issued = made(store)
    assert reason(authenticator, issued.secret) is None
    store.revoke(issued.token.id)
    assert reason(authenticator, issued.secret) is Reason.UNAUTHENTICATED
    looked = store.looked
    assert reason(authenticator, issued.secret) is Reason.UNAUTHENTICATED
    assert store.looked == looked


def test_a_caller_above_their_rate_costs_no_look_up(store: Counting) -> None:
    clock = MovedClock(time=0)
    authenticator = Authenticator(
        store, throttle=TokenThrottle(Rates(5, lambda: clock.time / 1e6), lambda: clock.time / 1e6)
    )
    secrets = [made(store).secret, made(store).secret]
    found = [reason(authenticator, secrets[number % 2]) for number in range(100)]
    assert found.count(None) == 10, "the annotator's, whichever token is shown"
    assert store.looked == 10


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.integers(0, 300_000)), max_size=200))
@settings(max_examples=50)
def test_looks_for_strangers_keep_to_their_rate_in_any_order(calls: list[tuple[int, str, int]]) -> None:
    clock = MovedClock(time=0)
    throttle = TokenThrottle(clock=lambda: clock.time / 1e6)
    looks = dict.fromkeys("ab", 0)
    for number, address, later in calls:
        clock.time += later
        try:
            attempt = throttle.attempt(f"tdm_{number}", address)
        except RefusedError:
            continue
        if number < 5:
            throttle.accepted(attempt, f"a{number}")
        else:
            looks[address] += 1
            throttle.rejected(attempt)
        assert (
            looks[address]
            <= 2 * token_throttle.STRANGERS_RATE + token_throttle.STRANGERS_RATE * clock.time / 1e6 + 1e-6
        )
    assert sum(looks.values()) <= 26, "what opens nothing is looked up once"


def test_what_is_remembered_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_throttle, "_MOST", 50)
    throttle = TokenThrottle(clock=lambda: 0.0)
    for number in range(200):
        attempt = token_throttle.TokenAttempt("", str(number), "a", "")
        (throttle.accepted if number % 2 else lambda its, _name: throttle.rejected(its))(attempt, "ada")
    assert (len(throttle._valid), len(throttle._invalid)) == (50, 50)


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("ipv4:127.0.0.1:50000", "ipv4:127.0.0.1"),
        ("ipv6:%5B::1%5D:50000", "ipv6:::/64"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:50000", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "ipv6:fe80::/64"),
        ("ipv6:[::ffff:192.0.2.1]:50000", "ipv4:192.0.2.1"),
        ("unix:", "unix:"),
        ("", ":"),
    ],
)
def test_callers_are_told_apart_by_address_and_not_by_port(peer: str, told: str) -> None:
    assert address_of(peer) == told


def test_a_service_goes_on_for_who_is_known_while_tokens_are_guessed(tmp_path: Path) -> None:
    settings_ = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    with serve(pipeline("pay"), settings_, options=Options(tokens=True)) as server:
        tokens = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
        with LabelingClient(server.address, "ada", token=made(tokens).secret, patience=0) as known:
            known.stats()
            refused: set[Reason] = set()
            for number in range(60):
                with LabelingClient(server.address, "eve", token=f"tdm_{number}", patience=0) as guessing:
                    with pytest.raises(RefusedError) as caught:
                        guessing.stats()
                    refused.add(caught.value.reason)
            known.stats()
        tokens.close()
    assert Reason.UNAUTHENTICATED in refused
