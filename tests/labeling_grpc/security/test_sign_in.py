"""Signing in by an identity provider, at a running service: what an ID token is exchanged for, and who is refused."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from identity_provider import IdentityProvider, providing
from labeling import PIPELINE, SOURCE, arrivals, candidate, pipeline
from typer.testing import CliRunner

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.client import LabelingAdminClient, LabelingClient, SignedIn
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.queue.handlers.sessions import KEPT_US
from labeling_grpc.security.roles import OPEN, Role
from labeling_grpc.security.token_throttle import STRANGERS_RATE
from labeling_grpc.security.tokens import TokenError, TokenStore, digest
from labeling_grpc.server import LabelingServer, serve
from tidemark.cli.app import app
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings

_number = itertools.count()
MINUTE = 60_000_000


def nonce(of: str = "pay") -> str:
    """As the console makes one."""
    return f"{of}.0123456789abcdef-{next(_number)}"


@dataclass
class Desk:
    """A service that people sign in to by the stand-in."""

    idp: IdentityProvider
    server: LabelingServer
    folder: Path

    def tokens(self) -> TokenStore:
        return sqlite_tokens(self.folder / "pipelines" / "pay" / "labeling.db")

    def exchange(self, token: str, said: str, **options: Any) -> SignedIn:  # noqa: ANN401 - of the client
        with LabelingClient(self.server.address, "", token="", patience=0, **options) as client:
            return client.exchange_token(token, said)

    def sign_in(self, **claims: Any) -> SignedIn:  # noqa: ANN401 - a claim is anything
        said = nonce()
        return self.exchange(self.idp.token(said, **claims), said)

    def refusal(self, **claims: Any) -> RefusedError:  # noqa: ANN401
        with pytest.raises(RefusedError) as caught:
            self.sign_in(**claims)
        return caught.value

    def acts(self) -> list[tuple[str, str, str]]:
        tokens = self.tokens()
        root = tokens.create(Role.ADMIN, "root", MINUTE).secret
        tokens.close()
        with LabelingAdminClient(self.server.address, "", token=root) as client:
            return [(entry.action, entry.actor, entry.role) for entry in client.audit()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("state")
    with providing() as idp:
        options = Options(tokens=True, sign_in=idp.rules(name_claim="preferred_username", lifetime_us=30 * MINUTE))
        with serve(pipeline("pay"), Settings(state_dir=folder).at("127.0.0.1:9"), options=options) as server:
            yield Desk(idp, server, folder)


@pytest.fixture
def desk(running: Desk) -> Desk:
    running.idp.person = {"sub": f"u-{next(_number)}", "groups": ["fraud-analysts"]}
    running.idp.person["preferred_username"] = f"person {running.idp.person['sub']}"
    running.idp.said.clear()
    return running


def test_an_id_token_is_exchanged_for_an_ordinary_token_with_the_role_of_a_group(desk: Desk) -> None:
    signed_in = desk.sign_in(groups=["fraud-leads", "fraud-analysts"])
    name = desk.idp.person["preferred_username"]
    assert (signed_in.caller.name, signed_in.caller.role, signed_in.caller.known) == (name, "reviewer", True)
    with LabelingClient(desk.server.address, "", token=signed_in.token) as client:
        assert client.caller() == signed_in.caller
    tokens = desk.tokens()
    token = tokens.find(signed_in.token)
    assert token is not None
    assert (token.role, token.annotator, token.subject) == (Role.REVIEWER, name, desk.idp.person["sub"])
    assert token.expires_at - token.created_at == 30 * MINUTE
    assert token.expires_at == signed_in.expires_at
    with pytest.raises(TokenError, match="came of a sign-in"):
        tokens.rotate(token.id, MINUTE, 0)
    tokens.close()
    assert ("sign in", name, "reviewer") in desk.acts()


def test_the_database_holds_neither_the_secret_nor_the_id_token(desk: Desk) -> None:
    said = nonce()
    id_token = desk.idp.token(said)
    signed_in = desk.exchange(id_token, said)
    with sqlite3.connect(desk.folder / "pipelines" / "pay" / "labeling.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert digest(signed_in.token) in dump
    assert signed_in.token not in dump
    assert id_token not in dump
    assert repr(signed_in).count(signed_in.token) == 0


def test_an_id_token_is_exchanged_once(desk: Desk) -> None:
    said = nonce()
    id_token = desk.idp.token(said)
    desk.exchange(id_token, said)
    with pytest.raises(RefusedError, match="exchanged before") as caught:
        desk.exchange(id_token, said)
    assert caught.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("said", [nonce("other"), "pay", "pay.short", "other.pay.0123456789abcdef", "", "pay.\u202e"])
def test_a_sign_in_to_another_pipeline_opens_nothing_here(desk: Desk, said: str) -> None:
    with pytest.raises(RefusedError):
        desk.exchange(desk.idp.token(said), said)


def test_a_token_of_this_service_opens_nothing_in_place_of_an_id_token(desk: Desk) -> None:
    signed_in = desk.sign_in()
    with pytest.raises(RefusedError) as caught:
        desk.exchange(signed_in.token, nonce())
    assert caught.value.reason is Reason.UNAUTHENTICATED


def test_a_forged_token_is_refused_at_the_service_too(desk: Desk) -> None:
    assert desk.refusal(aud="wiki").reason is Reason.UNAUTHENTICATED


def test_who_has_no_role_is_refused_and_the_trail_says_so(desk: Desk) -> None:
    assert desk.refusal(groups=["strangers"]).reason is Reason.FORBIDDEN
    assert "sign in refused" in {action for action, _, _ in desk.acts()}


def test_a_name_belongs_to_the_account_that_signed_in_with_it_first(desk: Desk) -> None:
    desk.sign_in(preferred_username="grace", sub="u-grace")
    desk.sign_in(preferred_username="grace", sub="u-grace")
    refusal = desk.refusal(preferred_username="grace", sub="u-other")
    assert refusal.reason is Reason.FORBIDDEN
    assert "belongs to another account" in str(refusal)


def test_nobody_becomes_who_has_a_token_made_here_by_choosing_the_name(desk: Desk) -> None:
    tokens = desk.tokens()
    made = tokens.create(Role.ANNOTATOR, "ada", MINUTE)
    tokens.revoke(made.token.id)
    assert "tidemark token link" in str(desk.refusal(preferred_username="ada"))
    tokens.link("ada", "u-ada")
    assert desk.refusal(preferred_username="ada", sub="u-eve").reason is Reason.FORBIDDEN
    assert desk.sign_in(preferred_username="ada", sub="u-ada").caller.name == "ada"
    tokens.link("ada")
    assert desk.sign_in(preferred_username="ada", sub="u-eve").caller.name == "ada"
    assert desk.refusal(preferred_username="ada", sub="u-ada").reason is Reason.FORBIDDEN
    tokens.close()


def test_nobody_becomes_who_has_answered_here_by_choosing_the_name(desk: Desk) -> None:
    tokens = desk.tokens()
    root = tokens.create(Role.ADMIN, "root", MINUTE).secret
    tokens.close()
    desk.server._writer.call(TakeIn(SOURCE, None, 1, arrivals([candidate(1)])))
    with LabelingClient(desk.server.address, "ben", token=root) as client:
        (task,) = client.lease()
        client.submit(task, "fraud")
    assert "answers here" in str(desk.refusal(preferred_username="ben"))


def test_who_signs_out_has_no_token_any_more_and_one_that_an_operator_made_stays(desk: Desk) -> None:
    signed_in = desk.sign_in()
    with LabelingClient(desk.server.address, "", token=signed_in.token, patience=0) as client:
        assert client.end_session()
        with pytest.raises(RefusedError) as caught:
            client.caller()
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert ("sign out", signed_in.caller.name, "annotator") in desk.acts()
    tokens = desk.tokens()
    made = tokens.create(Role.VIEWER, "vic", MINUTE)
    with LabelingClient(desk.server.address, "", token=made.secret) as client:
        assert not client.end_session()
        assert client.caller().name == "vic"
    tokens.close()


def test_an_operator_ends_a_sign_in_as_any_token(desk: Desk) -> None:
    signed_in = desk.sign_in()
    tokens = desk.tokens()
    token = tokens.find(signed_in.token)
    assert token is not None
    tokens.revoke(token.id)
    tokens.close()
    with (
        LabelingClient(desk.server.address, "", token=signed_in.token, patience=0) as client,
        pytest.raises(RefusedError),
    ):
        client.caller()


def test_what_was_exchanged_and_what_has_ended_is_not_kept_for_ever(desk: Desk) -> None:
    old = desk.sign_in()
    path = desk.folder / "pipelines" / "pay" / "labeling.db"
    with sqlite3.connect(path) as connection:
        ended = (KEPT_US + 31 * MINUTE, digest(old.token))
        connection.execute("UPDATE access_tokens SET expires_at = expires_at - ? WHERE digest = ?", ended)
        connection.execute("UPDATE exchanged_tokens SET until = 1")
    connection.close()
    desk.sign_in()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM exchanged_tokens").fetchone() == (1,)
        kept = connection.execute("SELECT count(*) FROM access_tokens WHERE digest = ?", (digest(old.token),))
        assert kept.fetchone() == (0,)
    connection.close()


def test_while_the_providers_keys_can_not_be_read_the_refusal_says_so(tmp_path: Path) -> None:
    with providing() as idp:
        idp.said["/keys"] = (503, {}, b"")
        options = Options(tokens=True, sign_in=idp.rules())
        with serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9"), options=options) as server:
            assert Desk(idp, server, tmp_path).refusal().reason is Reason.PROVIDER_UNAVAILABLE


def test_calls_without_a_token_are_bounded_as_wrong_tokens_are(tmp_path: Path) -> None:
    with providing() as idp:
        options = Options(tokens=True, sign_in=idp.rules())
        with serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9"), options=options) as server:
            desk = Desk(idp, server, tmp_path)
            good = [desk.sign_in(sub=f"u-{number}") for number in range(int(2 * STRANGERS_RATE) + 5)]
            assert len({each.token for each in good}) == len(good), "those who are let in are not counted"
            reasons = []
            with LabelingClient(server.address, "", token="", patience=0) as client:
                for _ in range(int(2 * STRANGERS_RATE) + 40):
                    with pytest.raises(RefusedError) as caught:
                        client.exchange_token("hello", nonce())
                    reasons.append(caught.value.reason)
            assert Reason.TOO_MANY_CALLS in reasons
            with LabelingClient(server.address, "", token=good[0].token) as client:
                assert client.caller().known, "who was let in before goes on"


def test_without_a_provider_nothing_is_exchanged_and_without_tokens_no_provider_is_set(tmp_path: Path) -> None:
    for tokens in (True, False):
        folder = tmp_path / str(tokens)
        settings = Settings(state_dir=folder).at("127.0.0.1:9")
        with (
            serve(pipeline("pay"), settings, options=Options(tokens=tokens)) as server,
            LabelingClient(server.address, "", token="", patience=0) as client,
            pytest.raises(RefusedError, match="TIDEMARK_OIDC_ISSUER") as caught,
        ):
            client.exchange_token("e30.e30.AA", nonce())
        assert caught.value.reason is Reason.UNAUTHENTICATED
    env = {
        "TIDEMARK_OIDC_ISSUER": "https://login.example",
        "TIDEMARK_OIDC_CLIENT_ID": "x",
        "TIDEMARK_OIDC_ROLES": "admin=a",
    }
    with pytest.raises(ConfigError, match="TIDEMARK_LABELING_TOKENS=on"):
        Options.from_environment(env)
    assert Options.from_environment(env | {"TIDEMARK_LABELING_TOKENS": "on"}).sign_in is not None


def test_no_other_call_is_made_without_a_token() -> None:
    assert set(OPEN) == {"ExchangeToken"}


def test_links_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Settings(state_dir=tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))
    result = CliRunner().invoke(app, ["token", "link", str(file), "--as", "ada"])
    assert result.exit_code == 0, result.output
    assert "whoever signs in as ada next" in result.output
    result = CliRunner().invoke(app, ["token", "link", str(file), "--as", "ada", "--subject", "u-7"])
    assert "u-7" in result.output
    assert CliRunner().invoke(app, ["token", "link", str(file), "--as", "consensus"]).exit_code == 1


def test_in_the_shared_database_too_a_token_is_exchanged_once_and_a_name_has_one_account(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    with providing() as idp:
        options = Options(tokens=True, sign_in=idp.rules(name_claim="preferred_username"))
        settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
        with serve(pipeline("pay"), settings, options=options, database=postgres.url) as server:
            desk = Desk(idp, server, tmp_path)
            said = nonce()
            id_token = idp.token(said, preferred_username="grace", sub="u-grace")
            signed_in = desk.exchange(id_token, said)
            with pytest.raises(RefusedError, match="exchanged before"):
                desk.exchange(id_token, said)
            assert "another account" in str(desk.refusal(preferred_username="grace", sub="u-other"))
            with LabelingClient(server.address, "", token=signed_in.token, patience=0) as client:
                assert client.caller().name == "grace"
                assert client.end_session()
                with pytest.raises(RefusedError):
                    client.caller()
