"""With a real identity provider, whose packages are downloaded on first use: `make test-sign-in`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Chromium
from canaille import PASSWORD, SECRET, Canaille, canaille
from console_world import World, fraud_cases, fraud_pipeline, world
from playwright.sync_api import Page, expect

from benchmarks.support.ports import lasting_port
from console.options import SignIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.security.oidc.settings import SignInRules
from labeling_grpc.security.roles import Role
from support import wait_until
from tidemark.records import Label, decode

pytestmark = [pytest.mark.canaille, pytest.mark.timeout(600)]
GROUPS = {"fraud-leads": ["lea"], "fraud-analysts": ["ada", "lea"], "cooks": ["eve"]}
ROLES = ((Role.REVIEWER, "fraud-leads"), (Role.ANNOTATOR, "fraud-analysts"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Canaille]]:
    port = lasting_port()
    redirect = f"http://127.0.0.1:{port}/oidc/callback"
    with canaille(tmp_path_factory.mktemp("canaille"), GROUPS, redirect) as provider:
        sign_in = SignInRules(provider.provider, ROLES), SignIn(provider.provider, "Canaille", SECRET)
        folder = tmp_path_factory.mktemp("desk")
        with world(folder, fraud_pipeline(), tokens=True, sign_in=sign_in, port=port) as its:
            its.take_in(*fraud_cases().candidates[-20:])
            yield its, provider


def sign_in(page: Page, its: World, who: str) -> None:
    """By the provider's own pages."""
    page.goto(f"{its.base}/sign-in")
    page.get_by_role("link", name="Sign in with Canaille").click()
    page.locator("input[name=login]").fill(who)
    page.locator("button[type=submit]").first.click()
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("button[type=submit]").first.click()
    accept = page.locator("button[name=answer][value=accept]")
    accept.or_(page.locator("body[data-csrf]")).or_(page.locator("[role=alert]")).first.wait_for()
    if accept.count():
        accept.click()


def test_a_person_signs_in_by_the_providers_page_labels_a_case_and_signs_out(
    made: tuple[World, Canaille], browser: Chromium
) -> None:
    its, provider = made
    with browser.page(ours=its.url) as page:
        sign_in(page, its, "ada")
        expect(page).to_have_url(f"{its.base}/label")
        expect(page.locator(".who")).to_contain_text("ada · annotator")
        expect(page.locator("article.case")).to_be_visible()
        page.keyboard.press("2")
        wait_until(lambda: its.server.store.unpublished(0, 10), "the answer did not come")
        label = decode(Label, its.server.store.unpublished(0, 10)[0].message.value)
        assert (label.annotator, label.label) == ("ada", "fraud")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
        page.get_by_role("link", name="Sign out of Canaille").click()
        page.wait_for_url(f"{provider.issuer}/**")
        page.goto(f"{its.base}/label")
        expect(page).to_have_url(f"{its.base}/sign-in")
    tokens = sqlite_tokens(its.folder / "pipelines" / "fraud" / "labeling.db")
    (token,) = [each for each in tokens.all() if each.annotator == "ada"]
    tokens.close()
    assert (token.role, token.subject) == (Role.ANNOTATOR, "ada")
    assert token.revoked_at is not None


def test_the_highest_role_counts(made: tuple[World, Canaille], browser: Chromium) -> None:
    with browser.page(ours=made[0].url) as page:
        sign_in(page, made[0], "lea")
        expect(page.locator(".who")).to_contain_text("lea · reviewer")


def test_who_is_in_none_of_the_groups_reads_what_to_ask_for(made: tuple[World, Canaille], browser: Chromium) -> None:
    with browser.page(ours=made[0].url) as page:
        sign_in(page, made[0], "eve")
        expect(page.locator("[role=alert]")).to_contain_text("ask for one of the groups")
        page.goto(f"{made[0].base}/label")
        expect(page).to_have_url(f"{made[0].base}/sign-in")
