"""Canaille, a real identity provider on loopback, in an environment of its own: `from canaille import canaille`.

Its packages are installed on first use into the user's cache, as those of Label Studio are.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joserfc.jwk import RSAKey

from benchmarks.support.environments import environment
from benchmarks.support.ports import lasting_port
from labeling_grpc.security.oidc.settings import Provider
from support import wait_until

_SECONDS: Final = 120.0
CLIENT: Final = "tidemark"
SECRET: Final = "a secret of this client"  # noqa: S105 - of the test's provider
PASSWORD: Final = "correct horse battery"  # noqa: S105 - as above
_SET_UP: Final = """
import json, sys
from canaille import create_app
from canaille.app import models
from canaille.app.installation import install
from canaille.backends import Backend
given = json.load(sys.stdin)
app = create_app(init_backend=False)
with app.app_context():
    install(app)
app = create_app()
with app.app_context(), Backend.instance.session():
    people = {}
    for name in given["people"]:
        people[name] = models.User(
            user_name=name, family_name=name.title(), formatted_name=name.title(), emails=[f"{name}@bank.example"],
            password=given["password"],
        )
        Backend.instance.save(people[name])
    for group, members in given["groups"].items():
        Backend.instance.save(models.Group(display_name=group, members=[people[each] for each in members]))
    client = models.Client(
        client_id=given["client"], client_secret=given["secret"], client_name="Tidemark",
        redirect_uris=[given["redirect"]], grant_types=["authorization_code"], response_types=["code"],
        scope=["openid", "profile", "email", "groups"], token_endpoint_auth_method="client_secret_basic",
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)
"""


@dataclass(frozen=True)
class Canaille:
    """A Canaille that runs."""

    issuer: str

    @property
    def provider(self) -> Provider:
        """As the service and the console know it."""
        return Provider(self.issuer, CLIENT)


@contextmanager
def canaille(folder: Path, groups: dict[str, list[str]], redirect: str) -> Iterator[Canaille]:
    """A Canaille with people in groups, all with `PASSWORD`.

    Args:
        folder: of its database and its log.
        groups: names of people by group.
        redirect: where it sends browsers back to.

    Yields:
        It, when it answers.

    """
    port = lasting_port()
    issuer = f"http://127.0.0.1:{port}"
    key = RSAKey.generate_key(2_048, {"kid": "first", "use": "sig", "alg": "RS256"}).as_dict(private=True)
    shown = ", ".join(f"{name} = {json.dumps(value)}" for name, value in key.items())
    (folder / "config.toml").write_text(
        'SECRET_KEY = "of the test"\nPREFERRED_URL_SCHEME = "http"\n'
        f'SERVER_NAME = "127.0.0.1:{port}"\n'
        '[CANAILLE]\nDATABASE = "sql"\n'
        f'[CANAILLE_SQL]\nDATABASE_URI = "sqlite:///{folder / "canaille.sqlite"}"\n'
        f"[CANAILLE_OIDC]\nACTIVE_JWKS = [{{{shown}}}]\n"
        f'[CANAILLE_HYPERCORN]\nBIND = ["127.0.0.1:{port}"]\n',
        encoding="utf-8",
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    variables |= {"CANAILLE_CONFIG": str(folder / "config.toml"), "AUTHLIB_INSECURE_TRANSPORT": "1"}
    given = {
        "people": sorted({name for members in groups.values() for name in members}),
        "groups": groups,
        "password": PASSWORD,
        "client": CLIENT,
        "secret": SECRET,
        "redirect": redirect,
    }
    programs = environment("canaille") / "bin"
    made = subprocess.run(
        [programs / "python", "-c", _SET_UP],
        input=json.dumps(given),
        text=True,
        capture_output=True,
        env=variables,
        cwd=folder,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "canaille", "run"], stdout=log, stderr=log, env=variables, cwd=folder, start_new_session=True
        )
        try:
            wait_until(lambda: _answers(issuer, process), "Canaille does not answer", timeout=_SECONDS)
            yield Canaille(issuer)
        finally:
            process.terminate()
            process.wait(30)


def _answers(issuer: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Canaille has ended"
    try:
        with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
