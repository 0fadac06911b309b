"""Status warns of rows that are late and of clocks that run ahead."""

from __future__ import annotations

from tidemark.observe.observer import late_problems
from tidemark.records import Metric


def metric(name: str, value: float, **detail: str | float | None) -> Metric:
    return Metric(
        name=name, value=value, low=None, high=None, n=1_000, at=10**15, model="m", source="stream", detail=detail
    )


def test_status_warns_of_late_rows_and_names_the_keys_whose_clocks_lead() -> None:
    told = {"late_share": metric("late_share", 0.9), "ahead_share": metric("ahead_share", 0.01, key_1="pump 7")}
    late, ahead = late_problems(told, 10**9 + 5)
    assert late.startswith("90.0% of the last 1,000 rows came late")
    assert "lie ahead of Kafka's clock; keys whose clocks lead: pump 7" in ahead
    assert late_problems(told, 10**9 + 3_600) == [], "what is an hour old is no problem of now"
    assert late_problems({"late_share": metric("late_share", 0.01)}, 10**9) == []
