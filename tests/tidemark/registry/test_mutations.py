from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from models import small_pipeline

from benchmarks.models.mutations import TEXT
from benchmarks.models.trial import Outcome, Trial
from tidemark.registry.sandbox import Sandbox

SEED = 11
MUTANTS = 300


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(timeout=10) as sandbox:
        yield sandbox


@pytest.fixture
def trial(sandbox: Sandbox) -> Trial:
    return Trial(small_pipeline(), sandbox)


def test_of_three_hundred_damaged_models_none_is_served_and_nothing_dies(trial: Trial, sandbox: Sandbox) -> None:
    rng = random.Random(SEED)
    for _ in range(MUTANTS):
        trial.run(trial.mutator.any_mutant(rng))
    outcome: Outcome = trial.outcome
    assert outcome.tried == MUTANTS
    assert outcome.served == 0, outcome.by_damage
    assert outcome.broken == 0
    assert sandbox.deaths == 0
    assert outcome.unnamed == []
    assert {"strict parse", "record of the manifest or champion", "chunks, size, SHA-256"} <= set(outcome.refused)
    assert outcome.refused["strict parse"] > MUTANTS / 4


@pytest.mark.parametrize("how", TEXT)
def test_no_kind_of_damage_with_a_fitting_digest_kills_the_helper(trial: Trial, sandbox: Sandbox, how: str) -> None:
    rng = random.Random(f"{SEED} {how}")
    tried = 0
    while tried < 8:
        mutant = trial.mutator.text_mutant(rng, reseal=True)
        if mutant.how == how:
            assert trial.run(mutant) != "served"
            tried += 1
    assert sandbox.deaths == 0


def test_with_a_key_no_damaged_model_gets_past_the_first_check(sandbox: Sandbox) -> None:
    trial = Trial(small_pipeline(), sandbox, secret=b"sixteen bytes or more")
    rng = random.Random(SEED)
    for _ in range(60):
        trial.run(trial.mutator.any_mutant(rng))
    assert trial.outcome.refused == {"record of the manifest or champion": 60}
