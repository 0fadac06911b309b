"""What `[[webhooks]]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.address_checks import address_problems
from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.pipeline.problem import Problem
from tidemark.runtime.suggestions import did_you_mean


def webhook_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the webhooks of a pipeline.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    names = [webhook.name for webhook in pipeline.webhooks]
    for i, webhook in enumerate(pipeline.webhooks):
        key = f"webhooks[{i}]"
        if webhook.name in names[:i]:
            yield Problem(f"{key}.name", f"'{webhook.name}' is named twice; rename one")
        yield from address_problems(key, webhook.url, webhook.private_host, webhook.ca_file)
        yield from _secret(key, webhook)
        yield from _filters(key, webhook, pipeline)


def _secret(key: str, webhook: WebhookSpec) -> Iterator[Problem]:
    if webhook.secret_file is None and webhook.secret_env is None:
        yield Problem(
            f"{key}.secret_file",
            "is missing: a receiver knows by it who sends; name a file here, or a variable in secret_env "
            "(`tidemark webhook secret` makes a secret)",
        )
    if webhook.secret_file is not None and webhook.secret_env is not None:
        yield Problem(f"{key}.secret_env", "secret_file is given as well; keep one of the two")


def _filters(key: str, webhook: WebhookSpec, pipeline: Pipeline) -> Iterator[Problem]:
    for name in ("events", "classes", "rules", "alarms"):
        given: list[str] = list(getattr(webhook, name) or [])
        if len(set(given)) != len(given):
            yield Problem(f"{key}.{name}", "something is named twice; write each once")
    if webhook.classes is not None and pipeline.label.is_number:
        yield Problem(f"{key}.classes", "the label is a number; remove it, and all labels are told")
    for name in [] if pipeline.label.is_number else webhook.classes or []:
        if name not in pipeline.label.classes:
            yield Problem(f"{key}.classes", f"'{name}' is no class; {did_you_mean(name, pipeline.label.classes)}")
    yield from _rules(key, webhook, pipeline)
    filters = {"classes": "label.completed", "rules": "decision.made", "alarms": "drift.detected"}
    for name, event in filters.items():
        if getattr(webhook, name) is not None and event not in webhook.events:
            yield Problem(f"{key}.{name}", f"is of '{event}', which is not in events; add that, or remove this")


def _rules(key: str, webhook: WebhookSpec, pipeline: Pipeline) -> Iterator[Problem]:
    rules = [rule.name for rule in pipeline.decisions]
    for name in webhook.rules or []:
        if name not in rules:
            yield Problem(f"{key}.rules", f"'{name}' is no rule of [[decisions]]; {did_you_mean(name, rules)}")
    if "decision.made" in webhook.events and not rules:
        yield Problem(f"{key}.events", "'decision.made' needs [[decisions]]; declare a rule, or remove it")
