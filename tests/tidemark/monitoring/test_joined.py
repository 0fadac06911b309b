import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.monitoring.joined import BY_BUSINESS, BY_EVENT, NEVER, OUTCOME, UNKNOWN, Joined, prediction_dtype

PREDICTION = prediction_dtype(2)
predictions = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3)), max_size=12)
outcomes = st.lists(
    st.tuples(st.sampled_from([BY_EVENT, BY_BUSINESS]), st.integers(0, 7), st.integers(0, 1), st.integers(0, 5)),
    max_size=12,
)


def prediction_rows(batch: list[tuple[int, int | None]]) -> np.ndarray:
    rows = np.zeros(len(batch), PREDICTION)
    rows["event"] = [event for event, _ in batch]
    rows["business"] = [business or 0 for _, business in batch]
    rows["has_business"] = [business is not None for _, business in batch]
    rows["truth"], rows["truth_at"] = UNKNOWN, NEVER
    return rows


def outcome_rows(batch: list[tuple[int, int, int, int]], start: int) -> np.ndarray:
    rows = np.zeros(len(batch), OUTCOME)
    rows["offset"] = np.arange(start, start + len(batch))
    rows["by"], rows["id"], rows["label"], rows["known_at"] = np.array(batch, np.int64).reshape(-1, 4).T
    return rows


@given(predictions, outcomes, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_truth_is_the_latest_known_outcome_in_whatever_order_rows_come(
    predicted: list[tuple[int, int | None]], told: list[tuple[int, int, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    joined = Joined(2, 100)
    waited: set[int] = set()
    matched_at_once: set[int] = set()
    at_p = at_o = 0
    while at_p < len(predicted) or at_o < len(told):
        n = int(rng.integers(1, 4))
        if at_o == len(told) or (at_p < len(predicted) and rng.random() < 0.5):
            done = joined.add_predictions(prediction_rows(predicted[at_p : at_p + n]), 0, at_p)
            waited |= {offset for _, offset in done}
            at_p += n
        else:
            rows = outcome_rows(told[at_o : at_o + n], at_o)
            matched_at_once |= set(rows["offset"][joined.add_outcomes(rows, 0, at_o)].tolist())
            at_o += n

    def names(outcome: tuple[int, int, int, int], event: int, business: int | None) -> bool:
        return outcome[1] == (event if outcome[0] == BY_EVENT else business)

    for row, (event, business) in zip(joined.predictions.rows, predicted, strict=True):
        mine = [outcome for outcome in told if names(outcome, event, business)]
        latest = max((outcome[3] for outcome in mine), default=None)
        assert int(row["truth"]) in ({o[2] for o in mine if o[3] == latest} or {UNKNOWN})
    expected = {i for i, o in enumerate(told) if any(names(o, event, business) for event, business in predicted)}
    assert waited | matched_at_once == expected
    assert not waited & matched_at_once


def test_truth_is_known_after_the_event_and_within_the_patience() -> None:
    joined = Joined(2, 100)
    rows = prediction_rows([(1, None)])
    rows["time"] = 50
    joined.add_predictions(rows, 0, 0)
    told = outcome_rows([(BY_EVENT, 1, 1, known_at) for known_at in (49, 50, 150, 151)], 0)
    assert joined.add_outcomes(told, 0, 0).tolist() == [False, True, True, False]


def test_what_is_forgotten_or_dropped_is_met_no_more() -> None:
    joined = Joined(2, 100)
    rows = prediction_rows([(1, None), (2, None), (3, None)])
    rows["time"] = [10, 20, 30]
    joined.add_predictions(rows, 0, 0)
    joined.forget(20, 10, 10)
    told = outcome_rows([(BY_EVENT, event, 1, 40) for event in (1, 2, 3)], 0)
    assert joined.add_outcomes(told, 0, 0).tolist() == [False, True, True]
    joined.forget(0, 1, 1)
    assert joined.predictions.rows["event"].tolist() == [3]
    assert len(joined.outcomes) == 1
    joined.drop(joined.predictions, 0)
    assert joined.add_outcomes(told[2:], 0, 3).tolist() == [False]
    assert joined.add_predictions(rows[2:], 0, 0) == [(0, 2)]
    assert joined.predictions.rows["truth"].tolist() == [1]
