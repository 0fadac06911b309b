from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import combinations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score

from tidemark.consensus import (
    Answers,
    OnlineDawidSkene,
    cohen_kappa,
    dawid_skene,
    fleiss_kappa,
    glad,
    krippendorff_alpha,
    majority,
    screen,
)
from tidemark.consensus.glad import ability
from tidemark.consensus.glad import weighed as weighed_by_ease
from tidemark.consensus.online import cautious, weighed
from tidemark.consensus.scales import UNIT, ClassScale

CLASSES = ("a", "b", "c")


def crowd(
    seed: int,
    items: int = 300,
    each: int = 4,
    *,
    skill: dict[str, float] | None = None,
    weights: tuple[float, ...] = (0.6, 0.3, 0.1),
) -> tuple[Answers, NDArray[np.int64]]:
    """Answers of people who are right with their `skill`, negative: who say the next class; and the truth."""
    rng = np.random.default_rng(seed)
    people = skill or {f"p{i}": 0.55 + 0.05 * i for i in range(8)}
    truth = rng.choice(len(CLASSES), items, p=weights)
    rows = []
    for item in range(items):
        for name in rng.choice(sorted(people), each, replace=False):
            right = abs(people[name]) > rng.random()
            step = int(right) if people[name] < 0 else (0 if right else int(rng.integers(1, 3)))
            rows.append((f"i{item}", str(name), CLASSES[(truth[item] + step) % 3]))
    return Answers.of(rows, CLASSES), truth


def right(posteriors: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    return float((posteriors.argmax(axis=1) == truth).mean())


answered = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 4)), st.sampled_from(CLASSES), min_size=1, max_size=20
).map(lambda said: Answers.of([(f"i{i}", f"p{p}", label) for (i, p), label in said.items()], CLASSES))


@given(answered)
def test_the_majority_is_what_counting_says(answers: Answers) -> None:
    said = defaultdict(list)
    for item, label in zip(answers.items, answers.labels, strict=True):
        said[int(item)].append(int(label))
    for item, row in enumerate(majority(answers)):
        counts = Counter(said[item])
        best = {label for label, number in counts.items() if number == max(counts.values())}
        assert [(p > 0) for p in row] == [label in best for label in range(3)]
        assert row.sum() == pytest.approx(1)


@given(answered)
def test_em_never_lowers_the_likelihood_and_gives_probabilities(answers: Answers) -> None:
    model = dawid_skene(answers, iterations=50)
    assert all(b >= a - 1e-6 for a, b in zip(model.log_likelihood, model.log_likelihood[1:], strict=False))
    assert np.allclose(model.posteriors.sum(axis=1), 1)
    assert np.allclose(model.confusion.sum(axis=2), 1)
    assert model.priors.sum() == pytest.approx(1)


def test_the_likelihood_is_the_one_written_out() -> None:
    answers, _ = crowd(1, items=20)
    model = dawid_skene(answers, iterations=3)
    again = dawid_skene(answers, iterations=4)
    total = 0.0
    for item in range(20):
        mine = answers.items == item
        joint = [
            again.priors[k] * math.prod(again.confusion[answers.annotators[mine], k, answers.labels[mine]])
            for k in range(3)
        ]
        total += math.log(sum(joint))
    assert total == pytest.approx(again.log_likelihood[-1])
    assert again.log_likelihood[:3] == pytest.approx(model.log_likelihood)


def test_dawid_and_skene_find_the_truth_more_often_than_the_majority_and_know_whom_to_trust() -> None:
    skill = {"good": 0.95, "fair": 0.8, "poor": 0.4, "coin": 0.34, "turned": -0.9, "fine": 0.9}
    answers, truth = crowd(3, items=800, skill=skill)
    model = dawid_skene(answers, pseudo=cautious(3))
    assert right(model.posteriors, truth) > right(majority(answers), truth) + 0.05
    accuracy = {name: float(model.priors @ np.diag(model.confusion[i])) for i, name in enumerate(answers.annotator_ids)}
    assert all(accuracy[name] == pytest.approx(max(skill[name], 0.05), abs=0.08) for name in skill)


def test_glad_finds_the_truth_more_often_than_the_majority_and_orders_abilities() -> None:
    skill = {"good": 0.95, "fair": 0.8, "poor": 0.4, "coin": 0.34, "fine": 0.9}
    answers, truth = crowd(4, items=600, skill=skill)
    model = glad(answers)
    assert right(model.posteriors, truth) > right(majority(answers), truth) + 0.03
    order = sorted(skill, key=lambda name: model.ability[answers.annotator_ids.index(name)])
    assert order[:2] == ["coin", "poor"]
    assert order[-1] == "good"
    assert all(b >= a - 1e-6 for a, b in zip(model.log_posterior, model.log_posterior[1:], strict=False))


def test_cases_that_people_disagree_on_are_hard_to_glad() -> None:
    rows = [(f"easy{i}", f"p{p}", "a") for i in range(20) for p in range(5)]
    rows += [(f"hard{i}", f"p{p}", CLASSES[(p + i) % 2]) for i in range(20) for p in range(5)]
    model = glad(Answers.of(rows, CLASSES))
    assert model.log_ease[:20].min() > model.log_ease[20:].max()


@pytest.mark.parametrize("seed", range(3))
def test_online_ends_where_the_whole_ends(seed: int) -> None:
    answers, _ = crowd(seed, items=60)
    online = OnlineDawidSkene(CLASSES)
    for item, annotator, label in zip(answers.items, answers.annotators, answers.labels, strict=True):
        online.add(answers.item_ids[item], answers.annotator_ids[annotator], CLASSES[label])
    for _ in range(500):
        if online.sweep() < 1e-12:
            break
    whole = dawid_skene(answers, pseudo=cautious(3), iterations=5_000, tolerance=1e-14)
    found = np.stack([online.posterior(item) for item in answers.item_ids])
    assert np.abs(found - whole.posteriors).max() < 1e-6
    assert np.abs(online.priors() - whole.priors).max() < 1e-6
    for index, name in enumerate(answers.annotator_ids):
        assert np.abs(online.confusion(name) - whole.confusion[index]).max() < 1e-6


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from(CLASSES), st.booleans()), max_size=30))
def test_online_counts_are_those_of_the_answers_that_stand(steps: list[tuple[int, int, str, bool]]) -> None:
    online = OnlineDawidSkene(CLASSES)
    stand: dict[tuple[int, int], str] = {}
    for item, person, label, back in steps:
        if back:
            online.retract(f"i{item}", f"p{person}")
            stand.pop((item, person), None)
        else:
            posterior = online.add(f"i{item}", f"p{person}", label)
            assert posterior.sum() == pytest.approx(1)
            stand[item, person] = label
    for person in range(4):
        said = [label for (_, who), label in stand.items() if who == person]
        counts = online._counts.get(f"p{person}", cautious(3)) - cautious(3)
        assert counts.sum(axis=0) == pytest.approx([said.count(label) for label in CLASSES], abs=1e-9)
        assert counts.min() > -1e-9
    assert online._totals.sum() == pytest.approx(len({item for item, _ in stand}), abs=1e-9)


def test_online_is_unsure_of_a_stranger_and_sure_of_those_who_were_right() -> None:
    online = OnlineDawidSkene(("a", "b"))
    for item in range(40):
        for person in ("ada", "ben"):
            online.add(f"i{item}", person, "ab"[item % 2])
    stranger = online.add("new", "cyd", "a")[0]
    known = online.add("other", "ada", "a")[0]
    assert 0.5 < stranger < 0.9 < known
    assert online.accuracy("ada") > 0.9


KRIPPENDORFF = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    rows = [
        (f"u{unit}", who, label)
        for who, line in KRIPPENDORFF.items()
        for unit, label in enumerate(line.split())
        if label != "."
    ]
    agreement = krippendorff_alpha(Answers.of(rows, "12345"))
    assert agreement.value == pytest.approx(0.743, abs=5e-4)
    assert agreement.cases == 11
    assert agreement.low < agreement.value < agreement.high


FLEISS = """0 0 0 0 14
0 2 6 4 2
0 0 3 5 6
0 3 9 2 0
2 2 8 1 1
7 7 0 0 0
3 2 6 3 0
2 5 3 2 2
6 5 2 1 0
0 2 2 3 7"""


def test_fleiss_kappa_is_that_of_a_published_example() -> None:
    rows = []
    for subject, line in enumerate(FLEISS.splitlines()):
        said = [str(label) for label, number in enumerate(line.split()) for _ in range(int(number))]
        rows += [(f"s{subject}", f"r{rater}", label) for rater, label in enumerate(said)]
    assert fleiss_kappa(Answers.of(rows, "01234")).value == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_of_uneven_numbers_is_refused() -> None:
    rows = [("i", "p", "a"), ("i", "q", "a"), ("j", "p", "a")]
    with pytest.raises(ValueError, match="krippendorff_alpha"):
        fleiss_kappa(Answers.of(rows, CLASSES))


@given(st.integers(0, 10_000))
def test_kappa_and_alpha_are_those_of_their_definitions(seed: int) -> None:
    answers, _ = crowd(seed, items=25, each=2, skill={"p": 0.7, "q": 0.6})
    by_person = [answers.labels[answers.annotators == index] for index in range(2)]
    kappa = cohen_kappa(answers, *answers.annotator_ids)
    assert kappa.value == pytest.approx(cohen_kappa_score(*by_person), nan_ok=True)
    observed = expected = 0
    pairs = list(zip(*by_person, strict=True))
    every = [label for pair in pairs for label in pair]
    observed = 2 * sum(x != y for x, y in pairs) / len(every)
    expected = 2 * sum(x != y for x, y in combinations(every, 2)) / (len(every) * (len(every) - 1))
    assert krippendorff_alpha(answers).value == pytest.approx(1 - observed / expected)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    said = [np.full((3, 3), (1 - skill) / 2) + np.eye(3) * (1.5 * skill - 0.5) for skill in (0.8, 0.7)]
    joint = said[0].T @ np.diag((0.6, 0.3, 0.1)) @ said[1]
    chance = joint.sum(axis=0) @ joint.sum(axis=1)
    true = (np.trace(joint) - chance) / (1 - chance)
    held = 0
    for seed in range(80):
        answers, _ = crowd(1_000 + seed, items=120, each=2, skill={"p": 0.8, "q": 0.7})
        agreement = cohen_kappa(answers, "p", "q", seed=seed)
        held += agreement.low <= true <= agreement.high
    assert 0.9 <= held / 80 <= 0.99


def test_nothing_is_said_where_chance_never_disagrees() -> None:
    answers = Answers.of([(f"i{i}", p, "a") for i in range(9) for p in "xy"], CLASSES)
    assert math.isnan(krippendorff_alpha(answers).value)
    alone = krippendorff_alpha(Answers.of([("i", "p", "a")], CLASSES))
    assert math.isnan(alone.value)
    assert alone.cases == 0


def test_those_who_guess_or_turn_classes_round_are_set_aside_and_others_are_not() -> None:
    honest = {f"h{i}": 0.7 + 0.03 * i for i in range(8)}
    found: Counter[tuple[str, str]] = Counter()
    for seed in range(8):
        answers, _ = crowd(seed, items=400, skill={**honest, "spam": 1 / 3, "turned": -0.95}, weights=(0.4, 0.3, 0.3))
        for screening in screen(answers):
            found[screening.annotator[0], screening.verdict] += 1
            assert screening.quarantined == (screening.annotator[0] in "st")
            assert f"{screening.cases} cases" in screening.why
    assert found == {("h", "trusted"): 64, ("s", "guesses"): 8, ("t", "contradicts"): 8}


def test_nobody_is_accused_over_few_answers_or_rare_classes() -> None:
    few, _ = crowd(1, items=10, each=3)
    assert {screening.verdict for screening in screen(few)} == {"unknown"}
    rare, _ = crowd(2, items=300, skill={f"p{i}": 0.98 for i in range(6)}, weights=(0.98, 0.01, 0.01))
    assert not any(screening.quarantined for screening in screen(rare))


def test_answers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="none of a, b, c"):
        Answers.of([("i", "p", "d")], CLASSES)
    with pytest.raises(ValueError, match="twice"):
        Answers.of([("i", "p", "a"), ("i", "p", "b")], CLASSES)
    with pytest.raises(ValueError, match="none of a, b, c"):
        OnlineDawidSkene(CLASSES).add("i", "p", "d")
    empty = Answers.of([], CLASSES)
    assert screen(empty) == []
    for fit in (dawid_skene, glad):
        with pytest.raises(ValueError, match="no answers"):
            fit(empty)


counts_of = st.lists(st.integers(1, 9), min_size=9, max_size=9).map(lambda n: np.array(n, np.float64).reshape(3, 3))


@given(
    st.lists(st.tuples(counts_of, st.integers(0, 2)), max_size=6), st.lists(st.integers(1, 9), min_size=3, max_size=3)
)
def test_one_case_is_weighed_by_what_its_annotators_said_before(
    said: list[tuple[NDArray[np.float64], int]], frequent: list[int]
) -> None:
    joint = [float(number) for number in frequent]
    for counts, label in said:
        joint = [joint[truth] * counts[truth, label] / counts[truth].sum() for truth in range(3)]
    expected = [share / sum(joint) for share in joint]
    np.testing.assert_allclose(weighed(np.array(frequent) / sum(frequent), said), expected, rtol=1e-9)


@given(st.floats(0.02, 0.98))
def test_an_ability_is_that_of_the_accuracy_over_cases_of_all_sorts(accuracy: float) -> None:
    rng = np.random.default_rng(0)
    ease = np.exp(1 + rng.standard_normal(200_000))
    assert expit(ability(accuracy) * ease).mean() == pytest.approx(accuracy, abs=0.01)


def test_an_accuracy_beyond_what_any_ability_reaches_is_the_end_of_the_scale() -> None:
    assert ability(1.0) == -ability(0.0) == 20.0
    assert ability(0.5) == pytest.approx(0.0, abs=1e-9)


def test_answers_that_disagree_make_a_case_a_hard_one() -> None:
    able = ability(0.9)
    agreed = weighed_by_ease(np.array([0.5, 0.5]), [(able, 0), (able, 0)])
    torn = weighed_by_ease(np.array([0.5, 0.5]), [(able, 0), (able, 0), (able, 1)])
    by_skill_alone = weighed(np.array([0.5, 0.5]), [(np.array([[9.0, 1.0], [1.0, 9.0]]), label) for label in (0, 0, 1)])
    assert 0.5 < torn[0] < by_skill_alone[0] < agreed[0]
    np.testing.assert_allclose(weighed_by_ease(np.array([0.3, 0.7]), []), [0.3, 0.7])


@pytest.mark.parametrize("method", ["dawid_skene", "glad"])
def test_more_that_is_taken_back_than_was_known_makes_nobody_infallible(method: Literal["dawid_skene", "glad"]) -> None:
    """So it is where an old answer is amended once classes have another order: another cell is taken back."""
    scale = ClassScale(("no", "yes"))
    common, taken_back, nothing = scale.tally(), scale.tally(), scale.tally()
    scale.count(taken_back, "yes", "no", -3 * UNIT)
    beside = [(nothing, "yes"), (nothing, "yes")]
    found = scale.weigh(common, [(taken_back, "no"), *beside], method)
    assert found == scale.weigh(common, [(nothing, "no"), *beside], method)
    assert found.answer == "yes"
    known = scale.right(common, taken_back)
    assert known is not None
    assert 0 <= known <= 1
