from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeling import MovedClock, pipeline

from labeling_grpc.client import LabelingClient
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.roles import Role
from labeling_grpc.server import serve
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings

NO_KAFKA = "127.0.0.1:9"


def passes(rates: Rates, caller: str) -> bool:
    try:
        rates.spend(caller)
    except RefusedError:
        return False
    return True


def call(client: LabelingClient, times: int) -> None:
    for _ in range(times):
        client.stats()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400_000)), max_size=80))
def test_no_caller_gets_more_than_its_burst_and_its_rate(calls: list[tuple[str, int]]) -> None:
    clock = MovedClock(time=0)
    rates = Rates(5, lambda: clock.time / 1e6)
    passed: dict[str, int] = {"a": 0, "b": 0}
    for caller, later in calls:
        clock.time += later
        passed[caller] += passes(rates, caller)
        assert passed[caller] <= 10 + 5 * clock.time / 1e6 + 1e-6


def test_who_waits_as_long_as_is_said_passes_and_others_are_not_held_up() -> None:
    clock = MovedClock(time=0)
    rates = Rates(2, lambda: clock.time / 1e6)
    assert [passes(rates, "ada") for _ in range(5)] == [True] * 4 + [False]
    assert passes(rates, "ben")
    with pytest.raises(RefusedError) as refused:
        rates.spend("ada")
    assert refused.value.reason is Reason.TOO_MANY_CALLS
    assert 0 < refused.value.retry_after <= 0.5
    clock.time += round(refused.value.retry_after * 1e6)
    assert passes(rates, "ada")


def test_buckets_of_callers_long_gone_are_given_up() -> None:
    rates = Rates(1, lambda: 0.0)
    for number in range(10_100):
        rates.spend(str(number))
    assert len(rates._buckets) == 10_000


def test_each_annotator_has_a_rate_of_their_own_and_clients_wait_for_theirs(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).at(NO_KAFKA)
    tokens = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
    secrets = {who: tokens.create(Role.ANNOTATOR, who, 10**12).secret for who in ("ada", "ben")}
    with serve(pipeline("pay"), settings, options=Options(tokens=True, rate=1)) as server:
        with LabelingClient(server.address, "ada", token=secrets["ada"], patience=0) as hasty:
            with pytest.raises(RefusedError) as refused:
                call(hasty, 10)
            assert refused.value.reason is Reason.TOO_MANY_CALLS
            assert 0 < refused.value.retry_after <= 1
        with LabelingClient(server.address, "ben", token=secrets["ben"], patience=0) as other:
            other.stats()
        with LabelingClient(server.address, "ada", token=secrets["ada"], patience=20) as patient:
            call(patient, 3)
    tokens.close()


def test_a_rate_is_a_whole_number() -> None:
    assert Options.from_environment({"TIDEMARK_LABELING_RATE": "20"}).rate == 20
    with pytest.raises(ConfigError, match="whole number"):
        Options.from_environment({"TIDEMARK_LABELING_RATE": "fast"})
