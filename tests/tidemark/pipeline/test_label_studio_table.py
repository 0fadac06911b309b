"""`[label_studio]`: what it must say, and what is said where it is wrong."""

from __future__ import annotations

import pytest
from labeling import PIPELINE

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse

RIGHT: dict[str, str | None] = {
    "url": '"https://label.example.com"',
    "project": "7",
    "token_env": '"LABEL_STUDIO_TOKEN"',
}
LISTENS: dict[str, str | None] = {"listen": '"127.0.0.1:8431"', "secret_env": '"SECRET"'}


def parsed(lines: dict[str, str | None], more: str = "") -> Pipeline:
    table = "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)
    return parse(f"{PIPELINE.replace('NAME', 'pay')}\n[label_studio]\n{table}\n{more}", "p.toml")


def test_a_table_that_is_right_is_taken_and_a_file_without_one_says_nothing_of_it() -> None:
    spec = parsed(RIGHT | LISTENS).label_studio
    assert spec is not None
    assert (spec.offered, spec.lease, spec.poll) == (50, 600_000_000, 30_000_000)
    assert "label_studio" not in parse(PIPELINE.replace("NAME", "pay"), "p.toml").model_dump()


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ({"url": None}, "label_studio.url: is missing"),
        ({"url": '"http://label.example.com"'}, "label_studio.url: http is not encrypted"),
        ({"url": '"https://10.0.0.1"'}, "allow it by private_host"),
        ({"url": '"http://localhost:8080"'}, 'allow it by private_host = "localhost"'),
        ({"url": '"https://169.254.169.254"'}, "never reached"),
        ({"url": '"https://user:secret@label.example.com"'}, "holds a user or a password"),
        ({"token_env": None}, "label_studio.token_file: is missing"),
        ({"token_file": '"x"'}, "label_studio.token_env: token_file is given as well"),
        ({"project": "0"}, "label_studio.project"),
        ({"lease": '"10s"'}, "label_studio.lease: must be from 1m to 1d"),
        ({"poll": '"100ms"'}, "label_studio.poll: must be 1s or more"),
        ({"offered": "0"}, "label_studio.offered"),
        ({"choices": '{ Betrug = "betrug" }'}, "label_studio.choices.Betrug: 'betrug' is no class"),
        ({"webhook_url": '"https://x.example.com"'}, "label_studio.webhook_url: does nothing without listen"),
        ({"listen": '"127.0.0.1:8431"'}, "label_studio.secret_file: is missing"),
        (LISTENS | {"listen": '"0.0.0.0:8431"'}, "label_studio.listen: must be of this machine alone"),
        (LISTENS | {"listen": '"8431"'}, "is not host:port"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_what_to_do(lines: dict[str, str | None], wrong: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(RIGHT | lines)
    assert wrong in str(raised.value)


def test_a_pipeline_that_asks_several_people_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs labeling.answers = 1"):
        parsed(RIGHT, "[labeling]\nanswers = 2\n")
