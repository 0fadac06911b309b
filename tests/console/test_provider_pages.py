"""The pages of a sign-in by an identity provider, for everybody: light and dark, on a phone and on a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Chromium, barriers
from console_world import World, fraud_cases, fraud_pipeline, world
from identity_provider import SECRET, IdentityProvider, providing
from playwright.sync_api import Page, expect

from console.options import SignIn

TITLE = "the login of a bank with a long name"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, IdentityProvider]]:
    with providing() as idp:
        sign_in = idp.rules(), SignIn(idp.provider, TITLE, SECRET)
        with world(tmp_path_factory.mktemp("provider"), fraud_pipeline(), tokens=True, sign_in=sign_in) as its:
            its.take_in(*fraud_cases().candidates[-40:])
            yield its, idp


def fits(page: Page, width: int, state: str) -> None:
    assert barriers(page) == [], state
    assert page.evaluate("document.documentElement.scrollWidth") <= width, state


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_of_a_sign_in_by_a_provider_bars_anybody(
    width: int, scheme: str, made: tuple[World, IdentityProvider], browser: Chromium
) -> None:
    its, idp = made
    idp.person = {"sub": f"{scheme}-{width}", "groups": ["fraud-analysts"]}
    with browser.page(width, 800, scheme, ours=its.url) as page:
        page.goto(its.base + "/sign-in")
        fits(page, width, "the form")
        idp.refusal = "access_denied"
        page.get_by_role("link", name="Sign in with").click()
        expect(page.get_by_role("alert")).to_contain_text("did not let you in")
        fits(page, width, "refused by the provider")
        idp.refusal = ""
        page.goto(its.url + "/oidc/callback?code=x&state=y")
        expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
        fits(page, width, "a sign-in that nobody has begun")
        page.route("**/p/fraud/label", lambda route: route.fulfill(status=204))  # the page stays
        page.goto(its.base + "/sign-in")
        page.get_by_role("link", name="Sign in with").click()
        expect(page.get_by_role("heading", name="Signed in")).to_be_visible()
        fits(page, width, "signed in")
        page.unroute("**/p/fraud/label")
        page.goto(its.base + "/label")
        expect(page.locator("article.case")).to_be_visible()
        fits(page, width, "the Label page of who came by the provider")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
        fits(page, width, "signed out")


def test_nothing_bars_anybody_while_the_service_or_the_provider_is_away(tmp_path: Path, browser: Chromium) -> None:
    with providing() as idp:
        sign_in = idp.rules(), SignIn(idp.provider, TITLE, SECRET)
        with world(tmp_path, fraud_pipeline(), tokens=True, sign_in=sign_in) as its:
            for width, scheme in ((360, "dark"), (1440, "light")):
                idp.said["/.well-known/openid-configuration"] = (503, {}, b"")
                with browser.page(width, 800, scheme, ours=its.url) as page:
                    page.goto(its.base + "/sign-in/provider")
                    expect(page.get_by_role("alert")).to_contain_text("can't be reached")
                    fits(page, width, "the provider is away")
            its.server.stop()
            with browser.page(360, 800, "light", ours=its.url) as page:
                page.goto(its.base + "/sign-in")
                expect(page.get_by_role("alert")).to_contain_text("The labeling service does not answer")
                fits(page, 360, "the service is away")
