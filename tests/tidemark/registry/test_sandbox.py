from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from models import rows, small_model, small_pipeline

from support import wait_until
from tidemark.errors import ModelError
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(timeout=5) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def text() -> str:
    return small_model(ModelSchema.of(small_pipeline()))[0].text


def helpers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "tidemark.registry.sandbox" in " ".join(child.cmdline())
    ]


def test_the_sandbox_gives_lightgbms_own_scores(sandbox: Sandbox) -> None:
    model, manifest = small_model(ModelSchema.of(small_pipeline()))
    golden = np.array([[np.nan if value is None else value for value in row] for row in manifest.golden])
    np.testing.assert_array_equal(sandbox.raw_scores(model.text, golden), np.array(manifest.golden_raw))


def test_a_multiclass_model_gives_a_column_for_each_class(sandbox: Sandbox) -> None:
    model, manifest = small_model(ModelSchema.of(small_pipeline(classes=("x", "y", "z"))))
    assert sandbox.raw_scores(model.text, rows(7)[0]).shape == (7, 3)
    assert len(manifest.golden_raw[0]) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=", "left_child=0 "),
        ("num_leaves=", "num_leaves=9"),
        ("right_child=", "right_child=999999 "),
    ],
)
def test_a_text_that_kills_lightgbm_kills_the_helper_and_not_us(
    sandbox: Sandbox, text: str, old: str, new: str
) -> None:
    before = sandbox.deaths
    with pytest.raises(ModelError, match=r"LightGBM (died|did not answer)"):
        sandbox.raw_scores(text.replace(old, new), rows(5)[0])
    assert sandbox.deaths == before + 1
    assert sandbox.raw_scores(text, rows(5)[0]).shape == (5, 1)


def test_an_endless_loop_is_ended_at_the_time_out(text: str) -> None:
    with Sandbox(timeout=1) as sandbox:
        assert sandbox.raw_scores(text, rows(5)[0]).shape == (5, 1)
        looping = text.replace("right_child=", "right_child=0 ", 1).replace("left_child=", "left_child=0 ", 1)
        with pytest.raises(ModelError, match=r"did not answer within 1 s|died \(SIG"):
            sandbox.raw_scores(looping, rows(5)[0])


def test_what_lightgbm_refuses_is_an_error_with_its_words(sandbox: Sandbox) -> None:
    before = sandbox.deaths
    with pytest.raises(ModelError, match="LightGBM refuses the model: LightGBMError"):
        sandbox.raw_scores("no model at all", rows(5)[0])
    assert sandbox.deaths == before


def test_rows_of_another_width_are_refused(sandbox: Sandbox, text: str) -> None:
    with pytest.raises(ModelError, match="number of features"):
        sandbox.raw_scores(text, np.zeros((2, 5)))


def test_a_helper_that_was_killed_is_replaced(sandbox: Sandbox, text: str) -> None:
    sandbox.raw_scores(text, rows(1)[0])
    (helper,) = helpers()
    os.kill(helper.pid, signal.SIGKILL)
    wait_until(lambda: helper.status() == psutil.STATUS_ZOMBIE, "the helper still runs")
    assert sandbox.raw_scores(text, rows(1)[0]).shape == (1, 1)


def test_no_helper_is_left_when_the_sandbox_is_closed(text: str) -> None:
    others = {helper.pid for helper in helpers()}
    with Sandbox() as sandbox:
        sandbox.raw_scores(text, rows(1)[0])
        mine = [helper for helper in helpers() if helper.pid not in others]
        assert len(mine) == 1
    assert not mine[0].is_running()


def test_the_helper_sees_no_secret(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_MODEL_KEY", "a secret of ours, long")
    others = {helper.pid for helper in helpers()}
    with Sandbox() as sandbox:
        sandbox.raw_scores(text, rows(1)[0])
        (mine,) = [helper for helper in helpers() if helper.pid not in others]
        assert not [name for name in mine.environ() if name.startswith("TIDEMARK")]
