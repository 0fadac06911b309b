"""A champion of many labels gives way to a challenger that is shown to be better, and comes back if it was better."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from models import batch_of, label_of, number_pipeline, numbers, rows, small_pipeline
from numpy.typing import NDArray

from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Gates
from tidemark.records import Metric, ModelManifest, decode, encode
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.runtime.processor import Output, Partition
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.proof import Probabilities, Shadow, blocks_of, pairs_of, worse_than_before
from tidemark.training.target import ClassTarget, NumberTarget

GATES = Gates(min_holdout=30, proof_from=1)
OLD = 200
TARGET = ClassTarget(2)


def labels(count: int, seed: int) -> Dataset:
    """The feature of each tells its number; about a third are positive."""
    rng = np.random.default_rng(seed)
    return Dataset(
        np.arange(count, dtype=np.float64)[:, None],
        (rng.random(count) < 0.3).astype(np.int64),
        tuple(f"e{number}" for number in range(count)),
        np.arange(count),
        0,
    )


def model(given: Dataset, skill: float, seed: int) -> Probabilities:
    """Probabilities that lean to the truth by so much, and vary."""
    rng = np.random.default_rng(seed)
    leaning = -0.8 + rng.normal(size=len(given)) + skill * (2 * given.target - 1)
    positive = 1 / (1 + np.exp(-leaning))

    def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
        mine = positive[features[:, 0].astype(int)]
        return np.column_stack((1 - mine, mine))

    return answer


def compared(count: int, champion: float, challenger: float, seed: int = 0, gates: Gates = GATES) -> Verdict:
    given = labels(OLD + count, seed)
    stand_in = model(given, challenger, seed + 1)
    return Shadow(lambda _: stand_in, TARGET).compare(
        given, np.arange(len(given)) >= OLD, model(given, champion, seed + 2), {}, positive=1, gates=gates
    )


def test_a_challenger_that_is_no_better_waits_whatever_chance_says() -> None:
    replaced = [compared(count, 0.6, 0.6, seed).passed for seed in range(0, 60, 3) for count in (60, 150, 400)]
    assert sum(replaced) <= 3


def test_a_better_challenger_replaces_and_the_sentence_has_the_figures() -> None:
    found = compared(600, 0.2, 1.0)
    assert found.passed
    assert found.reason.startswith("replaces: shown to be better: log loss 0.")
    assert found.high is not None
    assert found.high <= 0
    waiting = compared(60, 0.6, 0.65)
    assert not waiting.passed
    assert waiting.reason.startswith("kept: not shown to be better yet, as a challenger must be once the champion has ")
    assert len(waiting.reason) < 260


def test_a_better_log_loss_does_not_replace_where_the_average_precision_is_clearly_worse() -> None:
    given = labels(OLD + 600, 4)
    truth = given.target == 1
    ranks = np.where(truth, 0.5001, 0.4999)  # the champion ranks all right, and is timid
    even = np.full(len(given), 0.3)  # the challenger knows the share of positives, and nothing else

    def of(positive: NDArray[np.float64]) -> Probabilities:
        return lambda features: np.column_stack(
            (1 - positive[features[:, 0].astype(int)], positive[features[:, 0].astype(int)])
        )

    gates = Gates(proof_from=1, metric="average_precision")
    found = Shadow(lambda _: of(even), TARGET).compare(
        given, np.arange(len(given)) >= OLD, of(ranks), {}, positive=1, gates=gates
    )
    assert not found.passed
    assert found.reason.startswith("kept: the challenger is worse by more than the tolerance")


def test_the_random_draw_decides_with_the_weight_of_what_it_stands_for() -> None:
    given = labels(400, 5)
    good, bad = model(given, 2.0, 6)(given.features), model(given, -2.0, 7)(given.features)
    ours = np.where((np.arange(400) % 2 == 0)[:, None], good, bad)
    theirs = model(given, 0.0, 8)(given.features)
    drawn = {f"e{number}": 50.0 for number in range(0, 400, 2)}
    pairs = pairs_of(TARGET, given, np.arange(400), ours, theirs, drawn)
    assert (len(pairs), pairs.drawn) == (200, True)
    assert pairs.gains.mean() > 0.2
    assert not pairs_of(TARGET, given, np.arange(400), ours, theirs, {}).drawn
    heavy = pairs_of(TARGET, given, np.arange(400), ours, theirs, {**drawn, "e8": 1e9})
    assert heavy.weight.max() == 3.0


def test_a_label_is_scored_by_one_that_learnt_from_earlier_labels_only_and_always_by_the_same() -> None:
    given = labels(OLD + 500, 9)
    scored: dict[int, int] = {}

    def learn(part: Dataset) -> Probabilities:
        def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
            for number in features[:, 0].astype(int).tolist():
                assert len(part) <= number
                assert scored.setdefault(number, len(part)) == len(part)
            return np.full((len(features), 2), 0.5)

        return answer

    shadow = Shadow(learn, TARGET)
    for count in range(60, 501, 40):
        part = given.rows(np.arange(len(given)) < OLD + count)
        unseen = np.arange(len(part)) >= OLD
        shadow.compare(part, unseen, lambda rows: np.full((len(rows), 2), 0.5), {}, positive=1, gates=GATES)
    assert len(scored) == 500 - 15
    assert len(set(scored.values())) == len(blocks_of(500, 15)) - 1


def test_blocks_do_not_move_as_labels_come() -> None:
    assert blocks_of(0, 10) == []
    starts = [block.start for block in blocks_of(1_000, 15)]
    for count in range(1, 1_000, 37):
        blocks = blocks_of(count, 15)
        assert [block.start for block in blocks] == starts[: len(blocks)]
        assert sum(map(len, blocks)) == count


def test_a_champion_that_is_no_worse_stays() -> None:
    given = labels(600, 10)
    unseen = np.arange(600) >= OLD
    same = [
        worse_than_before(TARGET, given, unseen, model(given, 0.7, a), model(given, 0.7, a + 50), {}) for a in range(20)
    ]
    assert [found for found in same if found is not None] == []
    found = worse_than_before(TARGET, given, unseen, model(given, -0.5, 11), model(given, 0.8, 12), {})
    assert found is not None
    assert found.reason.startswith("back again: better than the champion that replaced it: log loss ")


HOURS = NumberTarget((0.0, 1_000.0))


def hours(count: int, seed: int) -> Dataset:
    """The feature of each tells its number; numbers are skewed, as hours left are."""
    given = labels(count, seed)
    return replace(given, numbers=np.random.default_rng(seed + 100).gamma(2.0, 50.0, count))


def foretelling(given: Dataset, off: float, seed: int) -> Probabilities:
    """Estimates that are off by so much, one in fifty by ten times that."""
    rng = np.random.default_rng(seed)
    wild = np.where(rng.random(len(given)) < 0.02, 10.0, 1.0)
    value = np.clip(given.of_numbers + off * wild * rng.normal(size=len(given)), 0, 1_000)
    return lambda features: np.column_stack([value[features[:, 0].astype(int)]] * 3)


def number_compared(count: int, champion: float, challenger: float, seed: int = 0, gates: Gates = GATES) -> Verdict:
    given = hours(OLD + count, seed)
    stand_in = foretelling(given, challenger, seed + 1)
    unseen = np.arange(len(given)) >= OLD
    gates = gates.model_copy(update={"metric": "rmse"}) if gates.metric == "log_loss" else gates
    return Shadow(lambda _: stand_in, HOURS).compare(
        given, unseen, foretelling(given, champion, seed + 2), {}, positive=None, gates=gates
    )


def test_a_challenger_whose_numbers_are_no_nearer_waits_whatever_chance_says() -> None:
    replaced = [number_compared(count, 40, 40, seed).passed for seed in range(0, 120, 3) for count in (60, 150, 400)]
    assert sum(replaced) <= 6  # looked at three times each: 5 % of 40 champions


def test_a_challenger_whose_numbers_are_nearer_replaces_and_the_sentence_has_errors_in_the_labels_unit() -> None:
    found = number_compared(600, 60, 30)
    assert (found.passed, found.metric) == (True, "rmse")
    assert re.match(
        r"replaces: shown to be better: RMSE \d\d\.\d+ against the champion's \d\d\.\d+ on the ", found.reason
    )
    assert found.high is not None
    assert found.high <= 0
    assert found.challenger is not None
    assert 20 < found.challenger < 60
    waiting = number_compared(60, 40, 38)
    assert not waiting.passed
    assert waiting.reason.startswith("kept: not shown to be better yet")


def test_a_nearer_root_mean_square_does_not_replace_where_the_mean_absolute_error_is_clearly_worse() -> None:
    given = hours(OLD + 600, 4)
    unseen = np.arange(len(given)) >= OLD
    rare = np.where(np.arange(len(given)) % 20 == 0, 160.0, 1.0)  # far off one time in twenty, else exact
    of = [np.column_stack([given.of_numbers + off] * 3) for off in (rare, np.full(len(given), 25.0))]
    champion, challenger = (lambda features, table=table: table[features[:, 0].astype(int)] for table in of)
    gates = Gates(proof_from=1, metric="mae")
    found = Shadow(lambda _: challenger, HOURS).compare(given, unseen, champion, {}, positive=None, gates=gates)
    assert (found.passed, found.metric) == (False, "mae")
    assert found.reason.startswith("kept: the challenger is worse by more than the tolerance")


def test_what_a_number_was_off_by_stays_what_it_is_as_later_numbers_come() -> None:
    given = hours(400, 5)
    unseen = np.arange(400) >= OLD
    near, far = (foretelling(given, off, 6)(given.features[OLD:]) for off in (20, 40))
    measured = HOURS.measured_by(given.rows(~unseen))
    whole = pairs_of(measured, given, np.arange(OLD, 400), near, far, {})
    part = pairs_of(measured, given, np.arange(OLD, 300), near[:100], far[:100], {})
    assert part.gains.tolist() == whole.gains[:100].tolist()
    assert np.abs(whole.gains).max() <= whole.bound
    unknown = HOURS.measured_by(given.rows(np.zeros(400, np.bool_)))
    assert unknown.figure(0.5) == pytest.approx(1_000 / 12**0.5)


def test_a_champion_whose_numbers_are_no_further_off_stays() -> None:
    given = hours(600, 10)
    unseen = np.arange(600) >= OLD

    def found(champion: float, before: float, seed: int) -> Verdict | None:
        models = foretelling(given, champion, seed), foretelling(given, before, seed + 50)
        return worse_than_before(HOURS, given, unseen, *models, {})

    assert [found(40, 40, seed) for seed in range(20)] == [None] * 20
    worse = found(150, 20, 11)
    assert worse is not None
    assert worse.reason.startswith("back again: better than the champion that replaced it: RMSE ")


PARTITION = Partition("p.labels", 0, "0a1b2c3d")


EXTRA = (
    "[training]\nlearner = 'boosted'\n"
    "every = 90\nmin_labels = 90\nparams = { num_iterations = 30 }\n[gates]\nmin_holdout = 60"
)


def classes_turned() -> list[bytes]:
    """Somebody answers labels 90 to 179 the wrong way round."""
    features, target = rows(280, seed=3)
    target[90:180] = 1 - target[90:180]
    return [encode(label_of(event, features[event].tolist(), ("no", "yes")[target[event]])) for event in range(280)]


def numbers_turned() -> list[bytes]:
    """Somebody has the sign of labels 90 to 179 wrong."""
    features, truth = numbers(280, seed=3)
    truth[90:180] *= -1
    return [encode(label_of(event, features[event].tolist(), repr(float(truth[event])))) for event in range(280)]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(
    ("pipeline", "values", "loss"),
    [
        (small_pipeline(extra=EXTRA), classes_turned(), "log loss"),
        (number_pipeline(extra=EXTRA), numbers_turned(), "RMSE"),
    ],
    ids=["classes", "numbers"],
)
def test_the_model_before_comes_back_under_a_new_version_when_its_successor_proves_worse(
    pipeline: Pipeline, values: list[bytes], loss: str, *, crash: bool
) -> None:
    """Of labels that are wrong, and so is the model that learns from them."""
    topic: list[Output] = []
    metrics: list[Metric] = []

    def registry() -> Registry:
        found = Registry()
        found.feed_outputs(topic)
        return found

    with Sandbox() as sandbox:

        def opened(metadata: str) -> RetrainProcessor:
            processor = RetrainProcessor(pipeline, read_registry=registry, sandbox=sandbox)
            processor.open(PARTITION, metadata)
            return processor

        processor = opened("")
        for begin in range(0, 280, 10):
            outputs = processor.process(batch_of(values[begin : begin + 10], first=begin))
            topic += [each for each in outputs if each.topic == "p.models"]
            metrics += [decode(Metric, each.value) for each in outputs if each.topic == "p.metrics"]
            if crash:
                processor = opened(processor.metadata(PARTITION))
                processor.process(batch_of(values[: begin + 10], replay=True))
    keys = [(each.key or b"", each.value) for each in topic]
    made = [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]
    back = [manifest for manifest in made if "back again" in manifest.decision]
    assert back
    by_version = {manifest.version: manifest for manifest in made}
    first = back[0]
    bad = by_version[first.parent or ""]
    good = by_version[bad.parent or ""]
    assert first.sha256 == good.sha256
    assert first.event_ids_sha256 == good.event_ids_sha256
    assert first.version[:7] > bad.version[:7]
    assert first.copy_of == good.version
    assert first.decision.startswith(f"{good.version} is back again: better than the champion that replaced it: {loss}")
    assert msgspec.structs.asdict(first)["used"] < bad.used
    assert any(metric.model == first.version and metric.detail.get("passed") == 1 for metric in metrics)
