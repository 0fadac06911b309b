"""A pipeline file that was found right is not tried again, and never believed where anything else decides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from models import pipeline_text

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, checked, expression_checks, parse
from tidemark.pipeline.checked import DECIDE, CheckedTexts, names_others
from tidemark.pipeline.problem import Expressed

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each time that a file is tried."""
    told: list[str] = []
    real = expression_checks.expressed

    def counted(pipeline: Pipeline) -> Expressed:
        told.append(pipeline.name)
        return real(pipeline)

    monkeypatch.setattr(expression_checks, "expressed", counted)
    return told


def test_a_text_that_was_found_right_is_tried_once(tmp_path: Path, tries: list[str]) -> None:
    text, texts = pipeline_text(), CheckedTexts(tmp_path / "checked")
    first = parse(text, "p.toml", texts)
    assert parse(text, "q.toml", CheckedTexts(tmp_path / "checked")) == first
    assert len(tries) == 1
    parse(text, "p.toml")
    assert len(tries) == 2


def test_an_edit_of_what_no_expression_depends_on_is_checked_without_trying_them(
    tmp_path: Path, tries: list[str]
) -> None:
    texts = CheckedTexts(tmp_path / "checked")
    parse(pipeline_text(), "p.toml", texts)
    parse(pipeline_text() + "\n# a comment\n", "p.toml", texts)
    edited = parse(pipeline_text(extra="[retention]\nevents = '9d'"), "p.toml", texts)
    assert (edited.retention.events, len(tries)) == (9 * 86_400_000_000, 1)
    with pytest.raises(ConfigError, match=r"training\.min_positive"):
        parse(pipeline_text(extra="[training]\nmin_labels = 5\nmin_positive = 6"), "p.toml", texts)
    assert len(tries) == 1
    with pytest.raises(ConfigError, match="nothing_of_the_kind"):
        parse(pipeline_text(label='context = ["nothing_of_the_kind"]'), "p.toml", texts)
    parse(pipeline_text(extra='[[derived]]\nname = "d"\nsql = "a + b"'), "p.toml", texts)
    assert len(tries) == 3


def test_a_text_that_is_wrong_is_refused_each_time(tmp_path: Path, tries: list[str]) -> None:
    text = pipeline_text(extra='[[derived]]\nname = "d"\nsql = "no_such_column + 1"')
    for _ in range(2):
        with pytest.raises(ConfigError, match="no_such_column"):
            parse(text, "p.toml", CheckedTexts(tmp_path / "checked"))
    assert len(tries) == 2


def test_other_checks_or_libraries_try_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: list[str]
) -> None:
    text, texts = pipeline_text(), CheckedTexts(tmp_path / "checked")
    parse(text, "p.toml", texts)
    uncached = cast("Callable[[], str]", cast("Any", checked._checks).__wrapped__)
    monkeypatch.setattr(checked, "_checks", uncached)
    parse(text, "p.toml", texts)
    assert len(tries) == 1
    monkeypatch.setattr(checked, "version", lambda name: "0.0" if name == "polars" else "1")
    parse(text, "p.toml", texts)
    assert len(tries) == 2
    monkeypatch.setattr(checked, "_ROOT", tmp_path)
    (tmp_path / "tidemark").mkdir()
    (tmp_path / "tidemark" / "errors.py").write_text("")
    (tmp_path / "kernels" / "windows").mkdir(parents=True)
    (tmp_path / "kernels" / "windows" / "specs.py").write_text("")
    parse(text, "p.toml", texts)
    parse(text, "p.toml", texts)
    assert len(tries) == 3
    (tmp_path / "tidemark" / "errors.py").write_text("x = 1")
    parse(text, "p.toml", texts)
    assert len(tries) == 4


def test_what_names_code_of_others_is_tried_each_time(tmp_path: Path, tries: list[str]) -> None:
    text = pipeline_text(extra='[[features]]\nname = "own_function"\nfunction = "outside:doubled"')
    texts = CheckedTexts(tmp_path / "checked")
    pipeline = parse(pipeline_text(), "p.toml")
    assert not names_others(pipeline)
    feature = pipeline.features[0].model_copy(update={"name": "f", "sql": None, "function": "package.module:function"})
    other = pipeline.model_copy(update={"features": [feature]})
    assert names_others(other)
    assert names_others(
        pipeline.model_copy(update={"time": pipeline.time.model_copy(update={"format": "of_a_package"})})
    )
    texts.add(text, other)
    assert not texts.has(text)
    assert tries == ["p"]


def test_a_folder_that_others_can_write_to_is_neither_believed_nor_written(tmp_path: Path, tries: list[str]) -> None:
    folder, text = tmp_path / "checked", pipeline_text()
    texts = CheckedTexts(folder)
    parse(text, "p.toml", texts)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    parse(text, "p.toml", texts)
    parse(pipeline_text(extra='[[derived]]\nname = "d"\nsql = "a + b"'), "p.toml", texts)
    assert len(tries) == 3
    assert len(list(folder.iterdir())) == 1


def test_where_nothing_can_be_kept_a_file_is_tried_each_time(tmp_path: Path, tries: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        parse(pipeline_text(), "p.toml", CheckedTexts(tmp_path / "file" / "checked"))
    assert len(tries) == 2


def test_the_newest_texts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "_MOST", 3)
    texts, pipeline = CheckedTexts(tmp_path / "checked"), parse(pipeline_text(), "p.toml")
    for number in range(5):
        texts.add(str(number), pipeline)
        newest = max((tmp_path / "checked").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    assert [texts.has(str(number)) for number in range(5)] == [False, False, True, True, True]


def test_all_that_decides_whether_a_file_is_right_is_in_its_hash() -> None:
    imports = "import sys, tidemark.pipeline.expression_checks, tidemark.pipeline.loading"
    program = f"{imports}\nfor name in sys.modules: print(name)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {name for name in done.stdout.split() if name.split(".")[0] in {"tidemark", "kernels", "labeling_grpc"}}
    inside = {name.removesuffix(".py").replace("/", ".") for name in DECIDE}
    packages = {"tidemark", "kernels", "kernels.windows", "kernels.numerics"}
    trust = {"kernels.numerics.trusted_files"}  # who may write to the folder, not what is right
    other = {
        name
        for name in modules - packages - trust
        if not any(name == each or name.startswith(f"{each}.") for each in inside)
    }
    assert other <= {"tidemark.times.iso8601_scan", "kernels.numerics._jit", "kernels.numerics._machine_code"}
