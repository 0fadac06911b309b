import numpy as np

from benchmarks.labels.selection import STANDARD_ERRORS, coverage_bounds, deviation, trial

STREAMS = 80


def test_estimates_over_crashes_and_skips_are_unbiased_and_their_intervals_hold_the_truth() -> None:
    trials = [trial(seed) for seed in range(STREAMS)]
    low, high = coverage_bounds(STREAMS)
    assert low <= sum(one.covered for one in trials) / STREAMS <= high
    assert abs(deviation(trials, "unbiased")) <= STANDARD_ERRORS
    assert abs(deviation(trials, "weighted")) <= STANDARD_ERRORS
    assert not any(one.over_budget or one.repeated for one in trials)
    # The stream is one on which a plain mean over all labels is far off, or the test would show nothing.
    assert np.mean([one.naive - one.truth for one in trials]) < -0.05
