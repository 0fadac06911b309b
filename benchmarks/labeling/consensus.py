"""Row G9: consensus on the same answers, beside crowd-kit (requirements-bench-labeling.txt), in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from benchmarks.support.timing import median_seconds
from tidemark.consensus import Answers, OnlineDawidSkene, dawid_skene, glad
from tidemark.consensus.dawid_skene import penalised
from tidemark.consensus.glad import log_posterior
from tidemark.consensus.online import cautious

CLASSES: Final = ("a", "b", "c", "d")
_SHARES: Final = (0.5, 0.3, 0.15, 0.05)
_PEOPLE: Final = 40
_EACH: Final = 5
_SAME: Final = 1e-6
_FASTER: Final = 10.0


def consensus_row(*, quick: bool) -> dict[str, Any] | None:
    """G9; None where crowd-kit is not installed."""
    if find_spec("crowdkit") is None:
        return None
    peer, pandas = import_module("crowdkit.aggregation"), import_module("pandas")
    rows = _crowd(2_000 if quick else 3_000)
    answers = Answers.of(rows, CLASSES)
    table = pandas.DataFrame(rows, columns=["task", "worker", "label"])

    rounds = 60 if quick else 200
    theirs = peer.DawidSkene(n_iter=rounds, tol=-np.inf).fit(table)
    ours = dawid_skene(answers, iterations=rounds, tolerance=-np.inf)
    probabilities = theirs.probas_.loc[list(answers.item_ids), list(CLASSES)].to_numpy()
    apart = float(np.abs(ours.posteriors - probabilities).max())
    whole = dawid_skene(answers, pseudo=cautious(4), iterations=5_000, tolerance=1e-13)
    online = OnlineDawidSkene(CLASSES)
    for row in rows:
        online.add(*row)
    sweeps = 1
    while online.sweep() > 1e-6 and sweeps < 2_000:
        sweeps += 1
    moved = np.stack([online.posterior(item) for item in answers.item_ids])

    timed = _cpu if quick else partial(median_seconds, repeats=3)
    refit = timed(lambda: peer.DawidSkene(n_iter=100, tol=-np.inf).fit(table))
    fit = timed(lambda: dawid_skene(answers, iterations=100, tolerance=-np.inf))
    add = _seconds_an_answer(rows)
    hardest = peer.GLAD(n_iter=20 if quick else 100, silent=True).fit(table)
    ability = hardest.alphas_.loc[list(answers.annotator_ids)].to_numpy()
    ease = hardest.betas_.loc[list(answers.item_ids)].to_numpy()
    apart_online = float(np.abs(moved - whole.posteriors).max())
    reached, others = glad(answers).log_posterior[-1], log_posterior(answers, ability, ease)
    confusion = np.stack([online.confusion(name) for name in answers.annotator_ids])
    climbed = penalised(answers, online.priors(), confusion, cautious(4))
    climbed_whole = penalised(answers, whole.priors, whole.confusion, cautious(4))
    same = apart <= _SAME and (apart_online <= _SAME or climbed >= climbed_whole - _SAME) and reached >= others
    return {
        "id": "G9",
        "value": round(refit / add, 1),
        "unit": "CPU time of crowd-kit's Dawid-Skene, fitted again with each answer, over ours, online",
        "target": _FASTER,
        "reached": refit / add >= _FASTER and same,
        "detail": {
            "answers": len(answers),
            "largest_difference_from_crowdkit": apart,
            "largest_difference_online_from_whole": apart_online,
            "penalised_log_likelihood_online": round(climbed, 6),
            "penalised_log_likelihood_whole": round(climbed_whole, 6),
            "sweeps": sweeps,
            "ms_an_answer_online": round(add * 1e3, 4),
            "ms_fit_crowdkit": round(refit * 1e3, 1),
            "ms_fit_ours": round(fit * 1e3, 1),
            "glad_log_posterior_ours": round(reached, 3),
            "glad_log_posterior_crowdkit": round(others, 3),
        },
    }


def _seconds_an_answer(rows: list[tuple[str, str, str]]) -> float:
    def add_all() -> None:
        online = OnlineDawidSkene(CLASSES)
        for row in rows:
            online.add(*row)

    return _cpu(add_all) / len(rows)


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _crowd(items: int) -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(1)
    truth, skill = rng.choice(4, items, p=_SHARES), rng.uniform(0.4, 0.95, _PEOPLE)
    rows = []
    for item in range(items):
        for person in rng.choice(_PEOPLE, _EACH, replace=False):
            step = 0 if rng.random() < skill[person] else int(rng.integers(1, 4))
            rows.append((f"i{item}", f"p{person}", CLASSES[(truth[item] + step) % 4]))
    return rows
