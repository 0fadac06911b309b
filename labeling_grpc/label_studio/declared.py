"""The bridge as a pipeline file declares it: its clients with their secrets, and what its project must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from labeling_grpc.client import LabelingAdminClient, LabelingClient
from labeling_grpc.label_studio.api import LabelStudioApi
from labeling_grpc.label_studio.hints import ACTIONS, HEADER
from labeling_grpc.label_studio.messages import CONTROL, Project
from labeling_grpc.label_studio.statements import Names
from labeling_grpc.options import state_folder
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import LabelStudioSpec
from tidemark.runtime.safe_text import safe
from tidemark.runtime.secrets import secret
from tidemark.runtime.settings import Settings
from tidemark.runtime.web_addresses import web_address

OWNER: Final = "[label_studio]"
NAME: Final = "label-studio"
"""The bridge's name as an annotator, where the service asks for no tokens."""
_MOST_XML: Final = 1_000_000
_PATIENCE: Final = 5.0


def spec_of(pipeline: Pipeline) -> LabelStudioSpec:
    """The bridge of a pipeline; raises ConfigError where there is none."""
    if pipeline.label_studio is None:
        raise ConfigError(
            f"pipeline '{pipeline.name}' has no table [label_studio]: declare url, project and token_env there "
            "(docs/how-to/label-studio.md)"
        )
    return pipeline.label_studio


def project_of(spec: LabelStudioSpec) -> int:
    """The number of the project; raises ConfigError where none is declared."""
    if spec.project is None:
        raise ConfigError(
            f"{OWNER}: project is missing: `tidemark label-studio project PIPELINE.toml` makes one, and says its number"
        )
    return spec.project


def api_of(pipeline: Pipeline, spec: LabelStudioSpec) -> LabelStudioApi:
    """The client of Label Studio.

    Raises:
        ConfigError: the token can't be had, or `ca_file` can't be read.

    """
    token = _reader(pipeline, "token", spec.token_file, spec.token_env)
    token()
    file = _path(pipeline, spec.ca_file)
    try:
        return LabelStudioApi(web_address(spec.url), token, private=spec.private_host is not None, ca_file=file)
    except OSError as error:
        raise ConfigError(f"{OWNER}: ca_file {file} can't be read ({error}); correct it") from error


def secret_of(pipeline: Pipeline, spec: LabelStudioSpec) -> Callable[[], str]:
    """What gives the secret that webhooks show.

    Raises:
        ConfigError: it can't be had.

    """
    given = _reader(pipeline, "secret", spec.secret_file, spec.secret_env)
    text = given().strip()
    if len(text) < 16 or not text.isascii() or not text.isprintable():
        raise ConfigError(f"{OWNER}: the secret of webhooks must be 16 printable ASCII characters or more")
    return given


def names_of(pipeline: Pipeline, spec: LabelStudioSpec) -> Names:
    """Who is who, and what is what."""
    annotators = {email.strip().lower(): name for email, name in (spec.users or {}).items()}
    return Names(tuple(pipeline.label.classes), dict(spec.choices or {}), annotators)


class Clients:
    """Clients of the labeling service, all with the bridge's own token. Close them."""

    def __init__(self, pipeline: str, settings: Settings) -> None:
        """Make them; nothing is asked yet.

        Args:
            pipeline: whose service it is.
            settings: that tell where it runs on this machine.

        """
        self._pipeline, self._settings = pipeline, settings
        self.queue = self.named(NAME)
        self.admin = LabelingAdminClient.of(pipeline, NAME, settings, patience=_PATIENCE)

    def named(self, who: str) -> LabelingClient:
        """A client that acts in the name of somebody."""
        return LabelingClient.of(self._pipeline, who, self._settings, patience=_PATIENCE)

    def identify(self) -> None:
        """Take the name that the token says.

        Raises:
            ConfigError: the token's role does not let it act in the name of others.
            UnreachableError: the service can't be reached.

        """
        caller = self.queue.caller()
        if not caller.known:
            return
        if caller.role != "admin":
            raise ConfigError(
                f"the bridge's access token is a {caller.role}'s ('{safe(caller.name)}'), and gives labels in the name "
                f"of others: make one with `tidemark token create PIPELINE.toml --as {NAME} --role admin`"
            )
        if caller.name != self.queue.annotator:
            self.queue.close()
            self.queue = self.named(caller.name)

    def close(self) -> None:
        """Close them."""
        self.queue.close()
        self.admin.close()


def ledger_path(settings: Settings, pipeline: str) -> Path:
    """The file of what the bridge of a pipeline remembers."""
    return state_folder(settings, pipeline) / "label-studio.db"


def check_project(project: Project, names: Names) -> None:
    """Refuse a project in which cases can't be answered.

    Raises:
        ConfigError: says what is wrong with it, and what to do.

    """
    remedy = "; correct it, or let `tidemark label-studio project PIPELINE.toml` make one"
    where = f"{OWNER}: project {project.id} of Label Studio"
    offered = _choices(project.label_config)
    if offered is None:
        raise ConfigError(f'{where} has no control <Choices name="{CONTROL}"> in its labeling interface{remedy}')
    lacking = [name for name in names.classes if names.choice(name) not in offered]
    if lacking:
        raise ConfigError(
            f"{where} offers no choice for {', '.join(lacking)}; name it in label_studio.choices where it has another "
            f"name{remedy}"
        )
    if project.skip_queue not in {"", "IGNORE_SKIPPED"}:
        raise ConfigError(
            f"{where} asks again what somebody skipped: set `Ignore skipped` in its settings, under Annotation"
        )


def webhook_fields(project: int, url: str, shown: str) -> dict[str, object]:
    """A webhook of Label Studio that tells the bridge what changed."""
    return {
        "project": project,
        "url": url,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": list(ACTIONS),
        "headers": {HEADER: shown},
        "is_active": True,
    }


def register_webhook(api: LabelStudioApi, project: int, url: str, shown: str) -> None:
    """Let Label Studio tell the bridge what changes in a project, by one webhook, however often this is called.

    Raises:
        AwayError: Label Studio can't be reached.
        DeniedError: it takes no such webhook.

    """
    known = [each.id for each in api.webhooks(project) if each.url == url and each.project == project]
    api.set_webhook(known[0] if known else None, webhook_fields(project, url, shown))


def _choices(config: str) -> set[str] | None:
    if len(config) > _MOST_XML or "<!DOCTYPE" in config:
        return None
    try:
        root = ET.fromstring(config)  # noqa: S314 - without a document type nothing in it grows or is fetched
    except ET.ParseError:
        return None
    for control in root.iter("Choices"):
        if control.get("name") == CONTROL:
            return {choice.get("value", "") for choice in control.iter("Choice")}
    return None


def _reader(pipeline: Pipeline, what: str, file: str | None, variable: str | None) -> Callable[[], str]:
    path = _path(pipeline, file)
    return lambda: secret(OWNER, what, path, variable) or ""


def _path(pipeline: Pipeline, named: str | None) -> str | None:
    return None if named is None else str(pipeline.folder / Path(named).expanduser())
