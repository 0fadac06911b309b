"""`make bench-label-curves`: sets as `tidemark init` would draft them, the loop, and the figures of its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.labels import label_curves, peer_arms
from benchmarks.labels.arms import ARMS, Arm
from benchmarks.labels.curve import played
from benchmarks.labels.curve_report import figures, rows_of
from benchmarks.labels.drafted_sets import DraftedSet, drafted_sets
from benchmarks.support import report
from tidemark.registry.sandbox import Sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of two classes, one of three, and a description of a file that is not there."""
    place = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    size = 3_000
    frame = pl.DataFrame(
        {
            "when": pl.Series([f"2026-01-{1 + at // 1_000:02}T{at % 24:02}:00:00Z" for at in range(size)]),
            "Air temperature [K]": rng.normal(size=size),
            "speed": rng.normal(size=size),
            "kind": rng.choice(["a", "b", "c"], size),
            "machine": rng.choice([f"m{at}" for at in range(9)], size),
            "note": pl.Series([f"remark {at}" for at in range(size)]),
        }
    ).with_columns(pl.when(pl.col("speed").abs() < 0.05).then(None).otherwise(pl.col("speed")).alias("speed"))
    score = frame["Air temperature [K]"].to_numpy() + frame["kind"].eq("b").to_numpy()
    two = np.where(score > 1.5, "bad", "good")
    three = np.array(["low", "middle", "high"])[np.digitize(score, [-0.3, 1.0])]
    frame.with_columns(pl.Series("label", two)).write_parquet(place / "two.parquet")
    frame.drop("when", "machine").with_columns(pl.Series("label", three)).write_parquet(place / "three.parquet")
    (place / "two.toml").write_text('label = "label"\npositive = "bad"\nkey = "machine"\ntime = "when"\n')
    (place / "three.toml").write_text('label = "label"\nleave = ["note"]\n')
    (place / "absent.toml").write_text('label = "label"\n')
    return place


@pytest.fixture(scope="module")
def sets(folder: Path) -> dict[str, DraftedSet]:
    return {data.name: data for data in drafted_sets(folder, folder)}


def test_a_set_is_what_init_drafts_with_classes_a_tile_and_a_budget(sets: dict[str, DraftedSet]) -> None:
    assert set(sets) == {"two", "three"}
    two = sets["two"].pipeline({})
    assert (two.keys, two.time.column) == (["machine"], "when")
    assert (two.label.classes, two.label.positive) == (["other", "bad"], "bad")
    assert {"Air_temperature_K_", "speed", "kind", "machine_count_1h"} <= set(two.feature_names)
    assert not two.columns["speed"].required
    assert sets["two"].features.shape == (3_000, len(two.feature_names))
    assert 10 < len(np.unique(sets["two"].tiles[: sets["two"].streamed])) <= 64
    three = sets["three"].pipeline({})
    assert sorted(three.label.classes) == ["high", "low", "middle"]
    assert len(np.unique(sets["three"].tiles[: sets["three"].streamed])) > 40
    assert three.selection.budget == 4
    for data in sets.values():
        assert (np.diff(data.tiles) >= 0).all()


def test_rows_of_a_set_follow_its_time_with_their_classes(sets: dict[str, DraftedSet]) -> None:
    data = sets["two"]
    air = data.features[:, data.pipeline({}).feature_names.index("Air_temperature_K_")]
    assert air[data.target == 1].mean() > air[data.target == 0].mean() + 1


def test_settings_of_an_arm_replace_those_of_the_draft(sets: dict[str, DraftedSet]) -> None:
    changed = sets["two"].pipeline({"selection.policy": "margin", "training.min_labels": 9})
    assert (changed.selection.policy, changed.training.min_labels) == ("margin", 9)
    assert sets["two"].pipeline({}).training.min_labels != 9


def test_an_arm_gives_the_same_run_again_and_keeps_to_the_budget(sets: dict[str, DraftedSet]) -> None:
    data = sets["three"]
    arm = Arm({"training.learner": "boosted", "training.params": {"num_iterations": 10}})
    with Sandbox() as sandbox:
        first, again = (played(data, "draft", arm, 0, sandbox).row() for _ in range(2))
        other = played(data, "draft", arm, 1, sandbox).row()
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert other["points"] != first["points"]
    tiles = len(np.unique(data.tiles[: data.streamed]))
    assert 0 < first["labels"] <= 4 * tiles
    assert first["first_model"] == first["points"][0][0] >= data.pipeline({}).training.min_labels
    spent = [moment[0] for moment in first["track"]]
    assert spent == sorted(spent)
    assert len(spent) == 24
    assert first["final"] > first["constant"] + 0.2


def test_what_was_played_is_not_played_again_and_a_line_cut_off_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs.jsonl"
    asked: list[tuple[str, int]] = []

    class Fake:
        def row(self) -> dict[str, Any]:
            return run("two", asked[-1][0], asked[-1][1], [(20, 0.9)], 100)

    def play(data: DraftedSet, name: str, arm: Arm, seed: int, sandbox: Sandbox) -> Fake:  # noqa: ARG001
        asked.append((name, seed))
        return Fake()

    monkeypatch.setattr(label_curves, "played", play)
    written: list[str] = []
    monkeypatch.setattr(report, "write", lambda name, _: written.append(name))
    command = ["x", "--data", str(folder), "--sets", str(folder), "--of", "two", "--runs", str(runs), "--seeds", "0"]
    command += ["--arms", "random", "draft"]
    monkeypatch.setattr("sys.argv", command)
    label_curves.main()
    assert asked == [("random", 0), ("draft", 0)]
    label_curves.main()
    assert len(asked) == 2
    runs.write_text(runs.read_text()[:-10])
    label_curves.main()
    assert asked[2:] == [("draft", 0)]
    assert [json.loads(line)["arm"] for line in runs.read_text().splitlines()] == ["random", "draft"]
    monkeypatch.setattr("sys.argv", [*command, "--arm", "often", "training.every=10"])
    label_curves.main()
    assert asked[3:] == [("often", 0)]
    assert set(written) == {runs.stem}, "runs of other sets are no result of the project's"


def run(
    name: str, arm: str, seed: int, points: list[tuple[int, float]], labels: int, lightgbm: float = 0.5
) -> dict[str, Any]:
    """A made-up run whose champions are as good on the next period as on the exam."""
    track = []
    for moment in range(24):
        spent = labels * (moment + 1) // 24
        value = max((value for at, value in points if at <= spent), default=0.1)
        track.append((spent, value, value, 0))
    return {
        "set": name, "arm": arm, "seed": seed, "labels": labels, "points": points, "track": track,
        "final": points[-1][1], "lightgbm": lightgbm, "constant": 0.1, "first_model": points[0][0], "gate": (0, 1),
        "log_loss": 0.3, "seconds": 0.0,
    }  # fmt: skip


def test_labels_to_a_goal_are_those_of_the_first_champion_that_reaches_it() -> None:
    random = [run("s", "random", seed, [(40, 0.3), (200, 0.6)], 240) for seed in range(3)]
    own = [run("s", "draft", seed, [(24, 0.52), (120, 0.7)], 240) for seed in range(3)]
    found = figures(own, random)
    assert found.l1 == pytest.approx(24 / 240)
    assert found.l1b == pytest.approx(120 / 240)
    assert found.reached == (True, True)
    assert found.behind == 0
    never = figures([run("s", "draft", 0, [(24, 0.2)], 240)], random)
    assert (never.l1, never.l1b, never.reached) == (1.0, 1.0, (False, False))


def test_an_arm_is_behind_where_it_is_worse_than_random_by_more_than_the_spread_of_seeds() -> None:
    random = [run("s", "random", seed, [(20, 0.5 + 0.01 * seed)], 240) for seed in range(3)]
    behind = figures([run("s", "draft", seed, [(20, 0.4), (120, 0.6)], 240) for seed in range(3)], random)
    assert behind.behind == pytest.approx(0.11)
    assert behind.behind_at == 20
    near = figures([run("s", "draft", seed, [(20, 0.505)], 240) for seed in range(3)], random)
    assert near.behind == 0


def test_rows_are_means_over_the_sets_where_random_shows_skill() -> None:
    runs = []
    for seed in range(2):
        for name, skill in (("a", 0.6), ("b", 0.6), ("c", 0.1)):
            runs.append(run(name, "random", seed, [(40, skill)], 200, lightgbm=skill))
            runs.append(run(name, "draft", seed, [(20 if name == "a" else 80, skill)], 200, lightgbm=skill))
    rows, table = rows_of(runs)
    values = {row["id"]: row["value"] for row in rows}
    assert values["L1 draft"] == pytest.approx((0.1 * 0.4) ** 0.5)
    assert values["L1b random"] == pytest.approx(0.2)
    assert set(rows[0]["detail"]["sets"]) == {"a", "b"}
    assert "c (no skill)" in table


def test_every_arm_is_a_pipeline_that_can_be_read(sets: dict[str, DraftedSet]) -> None:
    for arm in ARMS.values():
        sets["two"].pipeline(arm.settings)


def test_a_set_of_numbers_has_its_bounds_and_is_none_for_peers(tmp_path: Path) -> None:
    """Peers choose among classes: of none of them they shared the probability, and ended the whole run."""
    hours = pl.Series("hours", [float(at % 40) for at in range(2_400)]).set(pl.Series([True] + [False] * 2_399), None)
    pl.DataFrame({"speed": [at / 7 for at in range(2_400)], "hours": hours}).write_parquet(tmp_path / "wear.parquet")
    (tmp_path / "wear.toml").write_text('number = "hours * 2"\nmin = 0\nmax = 60\nleave = ["hours"]\n')
    (data,) = drafted_sets(tmp_path, tmp_path)
    label = data.pipeline({}).label
    assert (label.is_number, label.classes, label.min, label.max) == (True, [], 0, 60)
    assert data.target.tolist() == [min(2.0 * (at % 40), 60.0) for at in range(1, 2_400)]
    with pytest.raises(SystemExit, match="wear: its label is a number, and peers choose among classes"):
        peer_arms.played(data, next(iter(peer_arms.PEERS)), 0)
