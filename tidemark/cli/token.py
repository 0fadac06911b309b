"""`tidemark token create|list|revoke|link|rotate`: who may call a pipeline's labeling service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table

from labeling_grpc.database import open_tokens
from labeling_grpc.options import database_url, queue_database
from labeling_grpc.security.roles import Role
from labeling_grpc.security.tokens import Issued, Token, TokenStore
from tidemark.cli.console import DryRun, PipelineFile, out, told
from tidemark.cli.operator import operator
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.pipeline import parse_duration
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

app = typer.Typer(help="Access tokens of the labeling service.", no_args_is_help=True, add_completion=False)

TokenId = Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `list` shows it.")]
Lifetime = Annotated[str, typer.Option("--for", metavar="DURATION", help="How long it is valid.")]


@contextmanager
def _store(pipeline: PipelineFile) -> Iterator[TokenStore]:
    name = load(pipeline).name
    database = queue_database(Settings.from_environment(), name, database_url(os.environ))
    store = open_tokens(database, name, operator())
    try:
        yield store
    finally:
        store.close()


def _duration(option: str, text: str, *, zero: bool = False) -> int:
    try:
        return parse_duration(text, zero=zero)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} {error}") from error


def _show(issued: Issued) -> None:
    token = issued.token
    out.print(
        f"token {token.id} of {safe(token.annotator)}, {token.role.value}, until {_day(token.expires_at)}; keep it, "
        "for it is shown this once:",
        soft_wrap=True,
    )
    out.print(issued.secret, soft_wrap=True)


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at / 1e6))


def _state(token: Token, now: int) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if token.valid(now) else "expired"


def _told(store: TokenStore, token_id: str) -> str:
    """A token, for people.

    Raises:
        ConfigError: There is none.

    """
    token = next((token for token in store.all() if token.id == token_id), None)
    if token is None:
        raise ConfigError(f"there is no token {safe(token_id)!r}; `tidemark token list` shows them")
    state = _state(token, time.time_ns() // 1_000)
    return f"token {token.id} of {safe(token.annotator)}, {token.role.value}, {state}"


@app.command()
def create(
    pipeline: PipelineFile,
    annotator: Annotated[str, typer.Option("--as", metavar="NAME", help="Annotator id of its holder.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")] = Role.ANNOTATOR,
    lifetime: Lifetime = "90d",
) -> None:
    """Make a token and show it, this once."""
    with told(), _store(pipeline) as store:
        _show(store.create(role, annotator, _duration("--for", lifetime)))


@app.command(name="list")
def list_tokens(pipeline: PipelineFile) -> None:
    """List tokens, never their secrets."""
    with told(), _store(pipeline) as store:
        table = Table(box=None, pad_edge=False)
        for name in ("id", "annotator", "role", "made", "by", "ends", "state"):
            table.add_column(name, overflow="fold")
        now = time.time_ns() // 1_000
        for token in store.all():
            made, ends = _day(token.created_at), _day(token.expires_at)
            by = "operator" if token.subject is None else "sign-in"
            table.add_row(token.id, safe(token.annotator), token.role.value, made, by, ends, _state(token, now))
        out.print(table)


@app.command()
def revoke(pipeline: PipelineFile, token: TokenId, dry_run: DryRun = False) -> None:
    """End a token now; the running service refuses it from its next call on."""
    with told(), _store(pipeline) as store:
        if dry_run:
            out.print(f"{_told(store, token)} would be revoked", soft_wrap=True)
            return
        store.revoke(token)
        out.print(f"token {safe(token)} is revoked")


@app.command()
def link(
    pipeline: PipelineFile,
    annotator: Annotated[str, typer.Option("--as", metavar="NAME", help="Annotator id.")],
    subject: Annotated[
        str, typer.Option(metavar="SUB", help="Who has it, as the identity provider knows them; else the next one.")
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Let an account of the identity provider have an annotator id that is known here, and no other account."""
    with told(), _store(pipeline) as store:
        who = f"the account {safe(subject)}" if subject else f"whoever signs in as {safe(annotator)} next"
        if dry_run:
            out.print(f"the annotator id {safe(annotator)} would belong to {who}", soft_wrap=True)
            return
        store.link(annotator, subject)
        out.print(f"the annotator id {safe(annotator)} belongs to {who}", soft_wrap=True)


@app.command()
def rotate(
    pipeline: PipelineFile,
    token: TokenId,
    lifetime: Lifetime = "90d",
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old one stays valid; 0s: not at all.")
    ] = "1d",
    dry_run: DryRun = False,
) -> None:
    """Make a successor. Both are valid for the overlap; then the old one ends, at once with `--overlap 0s`."""
    with told(), _store(pipeline) as store:
        ends, valid = _duration("--overlap", overlap, zero=True), _duration("--for", lifetime)
        if dry_run:
            until = _day(time.time_ns() // 1_000 + valid)
            out.print(f"{_told(store, token)} would end after {overlap}, its successor on {until}", soft_wrap=True)
            return
        _show(store.rotate(token, valid, ends))
