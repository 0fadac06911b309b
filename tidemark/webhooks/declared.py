"""A webhook as a pipeline file declares it: its secret, and the client of its receiver."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from tidemark.errors import ConfigError
from tidemark.pipeline.declared import declared
from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.runtime.secrets import secret
from tidemark.runtime.web_addresses import web_address
from tidemark.webhooks.client import Client
from tidemark.webhooks.requests import Requests
from tidemark.webhooks.signing import keys_of


def spec_of(pipeline: Pipeline, name: str) -> WebhookSpec:
    """A webhook of a pipeline; raises ConfigError where there is none of the name."""
    return declared(pipeline, "webhook", pipeline.webhooks, name)


def keys_for(pipeline: Pipeline, spec: WebhookSpec) -> list[bytes]:
    """The keys that requests of a webhook are signed with.

    Args:
        pipeline: that declares it.
        spec: of the webhook.

    Returns:
        One, or several while one takes another's place.

    Raises:
        ConfigError: its secret can't be had, or is none.

    """
    owner, file = f"webhook '{spec.name}'", _path(pipeline, spec.secret_file)
    text = secret(owner, "secret", file, spec.secret_env) or ""
    try:
        return keys_of(text)
    except ValueError as error:
        named = f"secret_file {file}" if file is not None else f"secret_env {spec.secret_env}"
        raise ConfigError(f"{owner}: {named} {error}") from error


def requests_of(pipeline: Pipeline, spec: WebhookSpec) -> Requests:
    """What sends the requests of a webhook.

    Args:
        pipeline: that declares it.
        spec: of the webhook.

    Returns:
        It, not connected.

    Raises:
        ConfigError: its secret can't be had, or `ca_file` can't be read.

    """
    file = _path(pipeline, spec.ca_file)
    try:
        client = Client(web_address(spec.url), private=spec.private_host is not None, ca_file=file)
    except OSError as error:
        raise ConfigError(f"webhook '{spec.name}': ca_file {file} can't be read ({error}); correct it") from error
    return Requests(client, partial(keys_for, pipeline, spec), f"tidemark/{version('tidemark')}")


def _path(pipeline: Pipeline, named: str | None) -> str | None:
    return None if named is None else str(pipeline.folder / Path(named).expanduser())
