from __future__ import annotations

import pytest
from models import pipeline_text

from tidemark.errors import ConfigError
from tidemark.pipeline import parse, schema_hash

LINES = {
    "name": '"siem"',
    "url": '"https://hooks.example.com/x"',
    "events": '["label.completed"]',
    "secret_env": '"SECRET"',
}


def table(**changes: str | None) -> str:
    lines = {**LINES, **changes}
    return "[[webhooks]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)


def problems(*tables: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(pipeline_text(extra="".join(tables)), "p.toml")
    return str(raised.value)


def test_a_webhook_changes_no_feature_and_a_file_without_one_is_as_it_was() -> None:
    plain, with_one = parse(pipeline_text(), "p.toml"), parse(pipeline_text(extra=table()), "p.toml")
    assert schema_hash(plain) == schema_hash(with_one)
    assert "webhooks" not in plain.model_dump()
    assert with_one.webhooks[0].name == "siem"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": '"Siem"'}, "webhooks[0].name: 'Siem' is not allowed"),
        ({"name": None}, "webhooks[0].name: is missing"),
        ({"url": None}, "webhooks[0].url: is missing"),
        ({"events": "[]"}, "webhooks[0].events"),
        ({"events": '["label.done"]'}, "webhooks[0].events[0]: 'label.done' is not allowed"),
        ({"events": '["label.completed", "label.completed"]'}, "webhooks[0].events: something is named twice"),
        ({"secret_env": None}, "webhooks[0].secret_file: is missing: a receiver knows by it who sends"),
        ({"secret": '"whsec_abc"'}, "webhooks[0].secret: is no key of a pipeline file"),
        ({"secret_file": '"x"'}, "webhooks[0].secret_env: secret_file is given as well"),
        ({"classes": '["maybe"]'}, "webhooks[0].classes: 'maybe' is no class"),
        ({"alarms": '["quality_fell"]'}, "webhooks[0].alarms: is of 'drift.detected', which is not in events"),
        ({"url": '"http://hooks.example.com/"'}, "webhooks[0].url: http is not encrypted; write https"),
        ({"url": '"https://user:pass@example.com/"'}, "webhooks[0].url: holds a user or a password; remove it"),
        ({"url": '"https://2130706433/"'}, "webhooks[0].url: '2130706433' is a number that programs read in different"),
        (
            {"url": '"https://10.0.0.1/"'},
            'webhooks[0].url: 10.0.0.1 is of a private network; allow it by private_host = "10.0.0.1"',
        ),
        (
            {"url": '"http://localhost:8000/"'},
            'webhooks[0].url: localhost is this machine itself; allow it by private_host = "localhost"',
        ),
        (
            {"url": '"https://169.254.169.254/"', "private_host": '"169.254.169.254"'},
            "webhooks[0].url: 169.254.169.254 is of a network that is never reached",
        ),
        (
            {"url": '"https://a.internal/"', "private_host": '"b.internal"'},
            "webhooks[0].private_host: 'b.internal' is not the host of url; write 'a.internal'",
        ),
        (
            {"events": '["decision.made"]'},
            "webhooks[0].events: 'decision.made' needs [[decisions]]; declare a rule, or remove it",
        ),
        (
            {"rules": '["tell"]'},
            "webhooks[0].rules: 'tell' is no rule of [[decisions]]",
        ),
        (
            {"url": '"http://127.0.0.1/"', "private_host": '"127.0.0.1"', "ca_file": '"x"'},
            "webhooks[0].ca_file: http has no certificates; remove it",
        ),
    ],
)
def test_what_is_wrong_with_a_webhook_is_told_with_what_to_write(changes: dict[str, str | None], problem: str) -> None:
    assert problem in problems(table(**changes))


def test_a_name_is_given_once() -> None:
    assert "webhooks[1].name: 'siem' is named twice; rename one" in problems(table(), table())


def test_no_raw_topic_and_no_output_may_have_the_name_of_the_webhooks_topic() -> None:
    with pytest.raises(ConfigError, match="is a topic that the pipeline writes itself"):
        parse(pipeline_text().replace('"p.raw"', '"p.webhooks"'), "p.toml")
    assert "has another use in this pipeline" in problems(
        '[[outputs]]\ntopic = "p.webhooks"\nof = "predictions"\nformat = "json"\n'
    )


def test_the_shortest_and_the_longest_right_table() -> None:
    parse(pipeline_text(extra=table()), "p.toml")
    whole = table(
        url='"https://hooks.internal:8443/a?b=c"',
        events='["label.completed", "label.retracted", "model.champion_changed", "drift.detected", "deadletter.added", '
        '"decision.made"]',
        rules='["tell"]',
        classes='["yes"]',
        alarms='["quality_fell"]',
        private_host='"hooks.internal"',
        ca_file='"ca.pem"',
        secret_env=None,
        secret_file='"secret"',  # noqa: S106 the name of a file
    )
    whole += '[[decisions]]\nname = "tell"\nthreshold = 0.5\n'
    assert parse(pipeline_text(extra=whole), "p.toml").webhooks[0].private_host == "hooks.internal"
