"""A person at the console, without a browser: `from console_visitor import Visitor`."""

from __future__ import annotations

import html
import re
from typing import Any, Self

import httpx2
import plain_http


class Visitor:
    """Signed in, with the cookie and the CSRF token that a browser would bring."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = plain_http.Client(timeout=30, headers={"sec-fetch-site": "same-origin"})
        self.csrf = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def sign_in(self, *, name: str = "", token: str = "") -> httpx2.Response:
        fields = {"token": token} if token else {"name": name}
        response = self.http.post(f"{self.base}/sign-in", data=fields)
        if response.is_redirect:
            page = self.get(response.headers["location"].rpartition("/")[2]).text
            found = re.search(r'name="csrf" value="([^"]+)"', page)
            assert found is not None
            self.csrf = html.unescape(found[1])
        return response

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.http.get(f"{self.base}/{path}", headers=headers)

    def call(self, path: str, content: Any, **headers: str) -> httpx2.Response:  # noqa: ANN401 - JSON
        said = {"accept": "application/json", "x-csrf-token": self.csrf} | headers
        return self.http.post(f"{self.base}/{path}", json=content, headers=said)

    def cases(self, count: int = 1) -> list[dict[str, str]]:
        response = self.call("label/next", {"count": count})
        assert response.status_code == 200, response.text
        cases: list[dict[str, str]] = response.json()["cases"]
        return cases

    def decide(self, case: dict[str, str], kind: str = "answer", **more: str) -> httpx2.Response:
        lease = {"event_id": case["event_id"], "token": case["token"]}
        return self.call("label/decide", {**lease, "kind": kind, **more})
