"""`tidemark simulate`: what it shows, writes and refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from histories import HOURS_PIPELINE, PIPELINE, frame, hours_frame, shop
from terminal import Terminal
from typer.testing import CliRunner

from tidemark.backtest.arms import with_settings
from tidemark.cli.app import app

QUICK = ["--seeds", "2", "--strategies", "badge", "--learners", "", "--schedules", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shop")
    (place / "shop.toml").write_text(PIPELINE)
    frame(1_500, unlabeled=0.2).write_parquet(place / "history.parquet")
    return place


def run(folder: Path, *options: str, file: str = "history.parquet") -> Any:  # noqa: ANN401 typer does not name it
    return CliRunner().invoke(app, ["simulate", str(folder / "shop.toml"), "--data", str(folder / file), *options])


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[dict[str, Any], str]:
    """What `--json` writes, and the page of the same run."""
    done = run(folder, *QUICK, "--json", "--html", str(folder / "page.html"))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), (folder / "page.html").read_text()


def test_the_figures_are_of_the_history_and_the_arms(whole: tuple[dict[str, Any], str]) -> None:
    found = whole[0]
    assert found["events"] == 1_480
    assert found["labels"] + found["unlabeled"] == 1_480
    assert [arm["name"] for arm in found["arms"]] == ["as it is", "random", "badge"]
    for arm in found["arms"]:
        assert arm["seeds"] == 2
        assert arm["grid"][0] == 0
        assert arm["mean"][0] == pytest.approx(found["constant"], abs=1e-4)
        assert all(low <= mean <= high for low, mean, high in zip(arm["low"], arm["mean"], arm["high"], strict=True))
        assert arm["mean"][-1] > found["constant"] + 0.3
    assert any("have no label: they are streamed and can't be asked about" in note for note in found["notes"])


def test_the_settings_can_be_pasted(whole: tuple[dict[str, Any], str]) -> None:
    settings = tomllib.loads(whole[0]["toml"])
    assert settings["selection"]["total"] > 0
    changed = with_settings(shop(), settings)
    assert changed.selection.total == settings["selection"]["total"]


def test_the_page_needs_nothing_beside_it_and_has_both_themes(whole: tuple[dict[str, Any], str]) -> None:
    found, page = whole
    assert re.findall(r"(?:src|href)=[\"'](?!#)[^\"']*", page) == []
    assert re.findall(r"@import|<script|url\((?!#)", page) == []
    assert page.count("<svg") == 2
    assert "prefers-color-scheme: dark" in page
    for arm in found["arms"]:
        assert f"<td>{arm['name']}</td><td>{arm['mean'][-1]:.3f}</td>" in page


def test_piped_output_is_text_of_80_columns_without_a_bar(folder: Path) -> None:
    done = run(folder, *QUICK, "--budget", "40")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "playing" not in done.output
    assert [line for line in done.output.splitlines() if len(line) > 80] == []
    for shown in ("as it is", "random", "badge", "[selection]", "total = ", "40 labels", "░"):
        assert shown in done.output


def test_a_history_that_is_too_long_is_cut_by_keys_and_the_output_says_so(folder: Path) -> None:
    done = run(folder, *QUICK, "--events", "1000", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["events"] <= 1_000
    assert re.fullmatch(r"\d+ of 1,500 rows are used, those of one in 2 of 'customer' \(--events\)", found["notes"][0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--strategies", "bagde"], "'bagde'"),
        (["--answers", "soon"], "--answers: 'soon' is not a duration"),
        (["--budget", "90000"], "--budget 90,000 is more than the"),
        (["--topic", "shop.rwa"], "did you mean 'shop.raw'?"),
        (["--html", "/no/such/folder/page.html", "--budget", "20", *QUICK], "can't be written"),
    ],
)
def test_what_can_not_be_done_is_told_in_a_sentence(folder: Path, options: list[str], why: str) -> None:
    done = run(folder, *options)
    assert done.exit_code == 1
    assert why in " ".join(done.output.split())
    assert len(done.stderr.strip().splitlines()) < 4


def test_a_history_with_too_few_labels_is_told_what_it_needs(folder: Path) -> None:
    frame(80).write_parquet(folder / "short.parquet")
    done = run(folder, file="short.parquet")
    assert done.exit_code == 1
    assert "too few labels" in done.output
    assert "a simulation needs 12 (2) and 20 (5)" in " ".join(done.output.split())


def test_of_numbers_it_is_told_how_far_off_models_are_in_their_unit(folder: Path) -> None:
    (folder / "hours.toml").write_text(HOURS_PIPELINE)
    hours_frame(1_500).write_parquet(folder / "hours.parquet")
    page = folder / "hours.html"
    command = ["simulate", str(folder / "hours.toml"), "--data", str(folder / "hours.parquet"), "--html", str(page)]
    done = CliRunner().invoke(app, [*command, *QUICK, "--budget", "60"])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "R² on 296 later labels" in text
    assert re.search(r"0\.\d{3} \[[^]]*\] \(RMSE \d+\.?\d* h\) after 60", text), text
    assert "'" not in text.split("R²")[0], "there is no positive class"
    shown = page.read_text()
    assert re.search(r"<td>random</td><td>0\.\d{3} \(RMSE \d+\.?\d* h\)</td>", shown)


def test_names_of_a_stranger_are_shown_as_text(folder: Path) -> None:
    evil = "<b>\x1b[31mred"
    rows = frame(1_500)
    rows = rows.with_columns(truth=rows["truth"].replace("bad", evil))
    rows.write_parquet(folder / "evil.parquet")
    text = PIPELINE.replace('["good", "bad"]', f"['good', {json.dumps(evil)}]").replace(
        'positive = "bad"', f"positive = {json.dumps(evil)}"
    )
    (folder / "evil.toml").write_text(text)
    page = folder / "evil.html"
    command = ["simulate", str(folder / "evil.toml"), "--data", str(folder / "evil.parquet"), "--html", str(page)]
    done = CliRunner().invoke(app, [*command, *QUICK, "--budget", "30"])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output + page.read_text()
    assert "<b>\\" not in page.read_text()


def test_a_terminal_shows_a_bar_and_then_curves_a_table_and_the_settings_on_one_screen(folder: Path) -> None:
    command = ["simulate", str(folder / "shop.toml"), "--data", str(folder / "history.parquet"), *QUICK]
    with Terminal({}, *command, columns=80, lines=24) as terminal:
        terminal.wait_for("playing")
        terminal.wait_for("total = ", gone="playing")
        assert terminal.status() == 0
        shown = terminal.lines
    assert any(re.match(r" [01]\.\d\d .*[*░]", line) for line in shown[:8]), "the top of the curves"
    for text in ("as it is", "random", "badge", "total = ", " labels"):
        assert any(text in line for line in shown), text
