"""What `[label_studio]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.address_checks import address_problems
from tidemark.pipeline.model import LabelStudioSpec, Pipeline
from tidemark.pipeline.problem import Problem
from tidemark.runtime.listen_addresses import is_loopback, parted
from tidemark.runtime.suggestions import did_you_mean
from tidemark.runtime.web_addresses import web_address

_LEAST_LEASE = 60_000_000
_MOST_LEASE = 86_400_000_000
_LEAST_POLL = 1_000_000
_KEY = "label_studio"


def label_studio_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the bridge to Label Studio.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    spec = pipeline.label_studio
    if spec is None:
        return
    yield from address_problems(_KEY, spec.url, spec.private_host, spec.ca_file)
    yield from _either("token", spec.token_file, spec.token_env, "an access token of a user of Label Studio")
    if not _LEAST_LEASE <= spec.lease <= _MOST_LEASE:
        yield Problem(f"{_KEY}.lease", "must be from 1m to 1d")
    if spec.poll < _LEAST_POLL:
        yield Problem(f"{_KEY}.poll", "must be 1s or more")
    classes = pipeline.label.classes
    for choice, name in (spec.choices or {}).items():
        if name not in classes:
            yield Problem(f"{_KEY}.choices.{choice}", f"'{name}' is no class; {did_you_mean(name, classes)}")
    labeling = pipeline.labeling
    if max(labeling.answers, labeling.max_answers or 1) > 1:
        yield Problem(
            _KEY,
            "needs labeling.answers = 1: a label from Label Studio closes its case, and is no vote among several",
        )
    yield from _webhook(spec)


def _either(what: str, file: str | None, variable: str | None, meaning: str) -> Iterator[Problem]:
    if file is None and variable is None:
        yield Problem(f"{_KEY}.{what}_file", f"is missing: {meaning}; name a file here, or a variable in {what}_env")
    elif file is not None and variable is not None:
        yield Problem(f"{_KEY}.{what}_env", f"{what}_file is given as well; keep one of the two")


def _webhook(spec: LabelStudioSpec) -> Iterator[Problem]:
    if spec.listen is None:
        for name in ("webhook_url", "secret_file", "secret_env"):
            if getattr(spec, name) is not None:
                yield Problem(f"{_KEY}.{name}", "does nothing without listen; name an address there, or remove it")
        return
    yield from _either("secret", spec.secret_file, spec.secret_env, "what Label Studio's webhooks show")
    try:
        host, _ = parted(spec.listen)
    except ValueError as error:
        yield Problem(f"{_KEY}.listen", str(error))
    else:
        if not is_loopback(host):
            yield Problem(
                f"{_KEY}.listen",
                "must be of this machine alone, for the secret comes in the clear; write 127.0.0.1:8431, and let a "
                "proxy that speaks TLS pass requests on",
            )
    if spec.webhook_url is not None:
        try:
            web_address(spec.webhook_url)
        except ValueError as error:
            yield Problem(f"{_KEY}.webhook_url", str(error))
