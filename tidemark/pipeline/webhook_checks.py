"""What `[[webhooks]]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.pipeline.problem import Problem
from tidemark.runtime.suggestions import did_you_mean
from tidemark.runtime.web_addresses import WebAddress, refusal, web_address


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
        yield from _address(key, webhook)
        yield from _secret(key, webhook)
        yield from _filters(key, webhook, pipeline)


def _address(key: str, webhook: WebhookSpec) -> Iterator[Problem]:
    try:
        address = web_address(webhook.url)
    except ValueError as error:
        yield Problem(f"{key}.url", str(error))
        return
    allowed = webhook.private_host
    if allowed is not None and allowed.lower() != address.host:
        yield Problem(f"{key}.private_host", f"'{allowed}' is not the host of url; write '{address.host}'")
    if address.scheme == "http" and not address.is_loopback:
        yield Problem(f"{key}.url", "http is not encrypted; write https, as for every receiver on another machine")
    elif why := _refused(address, private=allowed is not None):
        yield Problem(f"{key}.url", why)
    if webhook.ca_file is not None and address.scheme == "http":
        yield Problem(f"{key}.ca_file", "http has no certificates; remove it")


def _refused(address: WebAddress, *, private: bool) -> str | None:
    """Why an address is refused by how it is written; others are judged when a connection is made."""
    number = address.number
    if number is None:
        if address.is_loopback and not private:
            return f'{address.host} is this machine itself; allow it by private_host = "{address.host}"'
        return None
    why = refusal(number, private=private)
    if why is None or refusal(number, private=True) is not None:
        return why
    return f'{why}; allow it by private_host = "{address.host}"'


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
    for name in webhook.classes or []:
        if name not in pipeline.label.classes:
            yield Problem(f"{key}.classes", f"'{name}' is no class; {did_you_mean(name, pipeline.label.classes)}")
    rules = [rule.name for rule in pipeline.decisions]
    for name in webhook.rules or []:
        if name not in rules:
            yield Problem(f"{key}.rules", f"'{name}' is no rule of [[decisions]]; {did_you_mean(name, rules)}")
    if "decision.made" in webhook.events and not rules:
        yield Problem(f"{key}.events", "'decision.made' needs [[decisions]]; declare a rule, or remove it")
    filters = {"classes": "label.completed", "rules": "decision.made", "alarms": "drift.detected"}
    for name, event in filters.items():
        if getattr(webhook, name) is not None and event not in webhook.events:
            yield Problem(f"{key}.{name}", f"is of '{event}', which is not in events; add that, or remove this")
