"""The calls of the contract over REST: all of them, with the same roles, as their description says."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final

import httpx2
import plain_http
import pytest
from console_world import console
from console_world import world as open_world
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labeling import candidate, pipeline
from rest import DESCRIPTION, OPERATIONS, ask, response_schema, unlike
from role_table import CELLS, ME, TABLE, World, served
from starlette.routing import Mount, Route

from console.api.calls import _lines
from console.app import routes
from console.site import Site
from labeling_grpc.client import Reason, RefusedError
from labeling_grpc.contract.http_rules import NOT_SERVED, rules
from labeling_grpc.security.roles import MATRIX, OPEN, Role
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb
from support import wait_until
from tidemark.runtime.settings import Settings

STREAMS: Final = {"Watch", "ExportLabels"}


def site(world: World) -> Site:
    return Site.of(pipeline("pay"), "pay.toml", Settings().at("127.0.0.1:9"), lambda: world.server.address)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("state")) as its:
        yield its


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with console([site(world)]) as where:
        yield where


def secret(world: World, role: Role = Role.ADMIN, who: str = ME) -> str:
    return world.token(role, who)[0][1].removeprefix("Bearer ")


def test_every_call_of_the_contract_has_its_route_or_a_reason_to_have_none() -> None:
    assert OPERATIONS.keys() | NOT_SERVED.keys() == MATRIX.keys() | OPEN.keys()
    assert OPEN.keys() <= NOT_SERVED.keys(), "a call without a token is nothing for the console to pass on"
    assert OPERATIONS.keys() & NOT_SERVED.keys() == set()
    assert all(len(reason) > 20 for reason in NOT_SERVED.values())


def test_the_description_and_the_routes_that_are_served_are_the_same() -> None:
    (mount,) = [route for route in routes() if isinstance(route, Mount) and route.path == "/api"]
    found = {
        (re.sub(r"\{(\w+):path\}", r"{\1}", route.path), verb.lower(), route.name)
        for route in mount.routes
        if isinstance(route, Route) and route.path != "/openapi.json"
        for verb in (route.methods or set()) - {"HEAD"}
    }
    assert found == {(path, verb, name) for name, (path, verb, _) in OPERATIONS.items()}
    assert {rule.method.name for rule in rules()} == OPERATIONS.keys()


def test_every_field_of_a_request_is_told_by_the_path_the_query_or_the_body() -> None:
    fields = {rule.method.name: set(rule.method.input_type.fields_by_name) for rule in rules()}
    for name, (_, _, operation) in OPERATIONS.items():
        told = {each["name"] for each in operation["parameters"]}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            told |= set(content["schema"]["properties"])
        assert told == fields[name], name


def test_the_description_is_served_with_what_it_refers_to(url: str) -> None:
    served = plain_http.get(f"{url}/api/openapi.json").json()
    assert served == DESCRIPTION
    named = set(re.findall(r"#/components/schemas/([\w.]+)", json.dumps(served)))
    assert named <= served["components"]["schemas"].keys()
    assert all(operation["summary"] for _, _, operation in OPERATIONS.values())


@pytest.mark.parametrize(("call", "about", "role"), [cell for cell in CELLS if cell[0] not in STREAMS])
def test_each_role_may_do_over_rest_what_it_may_do_over_grpc_and_is_answered_as_described(
    world: World, url: str, call: str, about: str, role: Role
) -> None:
    (allowed, made) = next((allowed, made) for c, a, allowed, made in TABLE if (c, a) == (call, about))
    response = ask(url, call, made(world), secret(world, role))
    world.ask(world.token(Role.ADMIN), "ResumeQueue", admin_pb2.ResumeQueueRequest())
    media, schema = response_schema(call, response.status_code)
    assert response.status_code == (200 if role in allowed else 403), response.text
    assert response.headers["content-type"].partition(";")[0] == media
    assert unlike(response.json(), schema) == []


@pytest.mark.parametrize("call", MATRIX)
@pytest.mark.parametrize("token", ["", "tdm_nobody"])
def test_no_call_is_made_without_a_token_that_opens_something(url: str, call: str, token: str) -> None:
    response = ask(url, call, pb.StatsRequest(), token)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["reason"] == "UNAUTHENTICATED"
    assert unlike(response.json(), {"$ref": "#/components/schemas/Problem"}) == []


def test_a_case_is_leased_answered_and_exported(world: World, url: str) -> None:
    token = secret(world, Role.ANNOTATOR, "rest")
    event = world.fresh()
    leased = ask(url, "LeaseTasks", pb.LeaseTasksRequest(max_tasks=100), token).json()["tasks"]
    (task,) = [task for task in leased if task["case"]["event_id"] == event]
    answer = pb.Annotation(event_id=event, lease_token=task["lease_token"], label="fraud")
    for repeated in (False, True):
        (result,) = ask(url, "SubmitLabels", pb.SubmitLabelsRequest(annotations=[answer]), token).json()["results"]
        assert result["duplicate"] == repeated
    response = ask(url, "ExportLabels", admin_pb2.ExportLabelsRequest(), secret(world))
    assert response.headers["content-type"] == "application/x-ndjson"
    labels = [json.loads(line) for line in response.text.splitlines()]
    assert [(each["label"], each["annotator"]) for each in labels if each["event_id"] == event] == [("fraud", "rest")]


def test_one_of_several_answers_that_is_refused_says_why_beside_those_that_are_taken(world: World, url: str) -> None:
    first, second = world.leased(ME), world.leased(ME)
    answers = [
        pb.Annotation(event_id=first.event_id, lease_token=first.lease_token, label="fraud"),
        pb.Annotation(event_id=second.event_id, lease_token=second.lease_token, label="nonsense"),
    ]
    results = ask(url, "SubmitLabels", pb.SubmitLabelsRequest(annotations=answers), secret(world)).json()["results"]
    assert results[0]["annotation_id"]
    assert results[1]["error"]["details"][0]["reason"] == "UNKNOWN_CLASS"


def test_what_happens_is_watched_line_by_line_until_the_reader_leaves(world: World, url: str) -> None:
    headers = {"authorization": f"Bearer {secret(world)}"}
    where = f"{url}/api/v1/pipelines/pay/watch?interval_ms=50&stats_only=false"
    with plain_http.stream("GET", where, headers=headers, timeout=30) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = response.iter_lines()
        assert json.loads(next(lines))["stats"]["pipeline"] == "pay"
        event = world.fresh()
        seen = next(
            each["event_id"] for line in lines for each in json.loads(line)["events"] if each["event_id"] == event
        )
    assert seen == event


@pytest.mark.parametrize("path", ["watch", "labels"])
def test_a_look_at_the_head_of_a_stream_ends(world: World, url: str, path: str) -> None:
    headers = {"authorization": f"Bearer {secret(world)}"}
    with plain_http.Client(headers=headers, timeout=30) as client:
        for _ in range(2):  # on one connection: the first answer has ended
            response = client.head(f"{url}/api/v1/pipelines/pay/{path}")
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/x-ndjson"


def test_a_console_that_is_stopped_ends_no_list_that_would_then_look_whole() -> None:
    """Whoever reads an export takes one that ends well for all labels; a watch has no end of its own."""
    by_name = {rule.method.name: rule for rule in rules()}

    async def parts(messages: list[Message]) -> AsyncGenerator[Message]:
        for message in messages:
            await asyncio.sleep(0)
            yield message

    async def told(name: str, messages: list[Message]) -> int:
        stopping = asyncio.Event()
        stopping.set()
        lines = _lines(by_name[name], messages[0], parts(messages[1:]), stopping)
        return len(b"".join([line async for line in lines]).splitlines())

    labels: list[Message] = [admin_pb2.ExportLabelsResponse(labels=[b"{}", b"{}"]) for _ in range(50)]
    seen: list[Message] = [pb.WatchResponse() for _ in range(50)]
    assert asyncio.run(told("ExportLabels", labels)) == 100
    assert asyncio.run(told("Watch", seen)) < 50


def test_a_call_for_cases_whose_caller_has_gone_takes_none(tmp_path: Path) -> None:
    with served(tmp_path) as world, console([site(world)]) as url:
        token = secret(world, Role.ANNOTATOR, "gone")
        with pytest.raises(httpx2.ReadTimeout):
            plain_http.post(
                f"{url}/api/v1/pipelines/pay/leases",
                json={"wait_ms": 60_000},
                headers={"authorization": f"Bearer {token}"},
                timeout=1,
            )
        wait_until(lambda: not world.server._writer._parked, "the call still waits for cases")
        world.fresh()
        stats = ask(url, "Stats", pb.StatsRequest(), token).json()["stats"]
        assert (stats["waiting_explore"], stats["waiting_active"], stats["leased"]) in {
            ("0", "1", "0"),
            ("1", "0", "0"),
        }


def test_pipelines_are_listed_to_whoever_one_of_their_services_knows(world: World, tmp_path: Path) -> None:
    with served(tmp_path) as other:
        second = Site.of(pipeline("other"), "o.toml", Settings().at("127.0.0.1:9"), lambda: other.server.address)
        with console([site(world), second]) as both:
            found = ask(both, "ListPipelines", admin_pb2.ListPipelinesRequest(), secret(other))
    assert [each["pipeline"] for each in found.json()["pipelines"]] == ["pay"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "reason"),
    [
        ("GET", "v1/pipelines/none/stats", None, 404, "UNKNOWN_PIPELINE"),
        ("GET", "v1/nothing", None, 404, None),
        ("DELETE", "v1/pipelines/pay/stats", None, 405, None),
        ("GET", "v1/pipelines/pay/cases/no-such", None, 404, "UNKNOWN_CASE"),
        ("GET", "v1/pipelines/pay/cases/a%2Fb%3Fc", None, 404, "UNKNOWN_CASE"),
        ("GET", "v1/pipelines/pay/cases/", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?page_size=x", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?page_size=1&page_size=2", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?states=NONSENSE", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?review=1", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?nonsense=1", None, 400, "INVALID_FIELD"),
        ("GET", "v1/pipelines/pay/cases?pipeline=other", None, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases?max_tasks=1", {}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", {"pipeline": "other"}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", {"nonsense": 1}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", [], 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", {"annotator": "a", "max_tasks": 1, "maxTasks": 2}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", {"details": {"pageToken": "a", "page_token": ""}}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/leases", {"max_tasks": 101}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/queue/pause", {}, 400, "INVALID_FIELD"),
        ("POST", "v1/pipelines/pay/skips", {"lease": {"event_id": "x", "lease_token": "y"}}, 404, "UNKNOWN_CASE"),
    ],
)
def test_what_is_wrong_with_a_call_is_told_as_a_problem(
    world: World,
    url: str,
    verb: str,
    path: str,
    body: object,
    status: int,
    reason: str | None,
) -> None:
    headers = {"authorization": f"Bearer {secret(world)}"}
    response = plain_http.request(verb, f"{url}/api/{path}", json=body, headers=headers, timeout=30)
    assert (response.status_code, response.json().get("reason")) == (status, reason), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert unlike(response.json(), {"$ref": "#/components/schemas/Problem"}) == []
    assert response.json()["status"] == status
    assert len(response.json()["detail"].splitlines()) < 4


@pytest.mark.parametrize("verb", ["DELETE", "OPTIONS", "PUT"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [("api/v1/pipelines/pay/stats", "GET, HEAD"), ("api/v1/pipelines/pay/labels", "GET, HEAD, POST")],
)
def test_a_method_that_there_is_not_is_told_with_all_that_there_are(
    url: str, verb: str, path: str, allowed: str
) -> None:
    response = plain_http.request(verb, f"{url}/{path}", timeout=30)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("path", ["api/v1/pipelines/pay/leases/", "api/v1/pipelines/", "api", "p/pay/label/"])
def test_no_address_leads_on_to_one_with_another_scheme(url: str, verb: str, path: str) -> None:
    """Behind a proxy that speaks TLS, a redirect that names our own scheme would send a token on in the clear."""
    response = plain_http.request(verb, f"{url}/{path}", headers={"authorization": "Bearer x"}, timeout=30)
    assert response.status_code == 404
    assert "location" not in response.headers
    first = plain_http.get(f"{url}/p/pay", timeout=30)
    assert (first.status_code, first.headers["location"]) == (303, "/p/pay/sign-in")


def test_a_service_that_is_away_is_not_left_out_of_the_list_as_if_it_were_not_there(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as other:
        second = Site.of(pipeline("other"), "o.toml", Settings().at("127.0.0.1:9"), lambda: other.server.address)

        async def away(*_: object) -> Message:
            raise RefusedError(Reason.STORE_UNAVAILABLE, "the database is away")

        monkeypatch.setattr(second.gateway, "unary", away, raising=True)
        with console([site(world), second]) as both:
            found = ask(both, "ListPipelines", admin_pb2.ListPipelinesRequest(), secret(world))
    assert (found.status_code, found.json()["reason"]) == (503, "STORE_UNAVAILABLE")


HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["annotations", "label", "event_id", "confidence", "next", "wait_ms", "known_at_us", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b"[" * 100_000,
            b'{"next":' * 5_000,
            b'{"annotations": [{"label": "\\ud800"}]}',
            b'{"annotations": "\\ud800"}',
            b'{"a":1,"a":2}',
        ]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOSTILE)
def test_no_body_whatever_is_more_than_a_refusal(world: World, url: str, content: bytes) -> None:
    headers = {"authorization": f"Bearer {_ADMIN.setdefault(url, secret(world))}", "content-type": "application/json"}
    response = plain_http.post(f"{url}/api/v1/pipelines/pay/answers", content=content, headers=headers, timeout=30)
    assert response.status_code in {400, 404, 409}, response.text
    assert response.headers["content-type"] == "application/problem+json"


_ADMIN: dict[str, str] = {}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_of_another_site_could_send_is_not_taken(world: World, url: str, kind: str) -> None:
    headers = {"authorization": f"Bearer {secret(world)}", "content-type": kind}
    response = plain_http.post(f"{url}/api/v1/pipelines/pay/queue/resume", content=b"{}", headers=headers)
    assert response.status_code == 415


@pytest.mark.parametrize("call", MATRIX)
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
    ],
)
def test_no_page_of_another_site_makes_a_call(url: str, call: str, headers: dict[str, str]) -> None:
    path, verb, _ = OPERATIONS[call]
    where = f"{url}/api{path}".replace("{pipeline}", "pay").replace("{event_id}", "x").replace("{name}", "x")
    response = plain_http.request(verb.upper(), where, headers=headers, content=b"{}")
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_a_signed_in_persons_cookie_makes_no_call(world: World, url: str) -> None:
    with plain_http.Client(headers={"sec-fetch-site": "same-origin"}) as browser:
        signed = browser.post(f"{url}/p/pay/sign-in", data={"token": secret(world)})
        cookie = signed.headers["set-cookie"].partition(";")[0]
        response = browser.get(f"{url}/api/v1/pipelines/pay/stats", headers={"cookie": cookie})
    assert response.status_code == 401


def test_a_large_body_is_refused_before_it_is_read(world: World, url: str) -> None:
    headers = {"authorization": f"Bearer {secret(world)}", "content-type": "application/json"}
    response = plain_http.post(
        f"{url}/api/v1/pipelines/pay/answers", content=b" " * 3_000_000, headers=headers, timeout=30
    )
    assert response.status_code == 413


@pytest.mark.parametrize("told", ["Basic YTpi", "Bearer", "Bearer \x7f", "Bearer " + "x" * 600])
def test_what_is_no_token_is_refused_without_a_call(url: str, told: str) -> None:
    response = plain_http.get(f"{url}/api/v1/pipelines/pay/stats", headers={"authorization": told})
    assert response.status_code == 401


def test_a_service_that_is_away_is_told_with_when_to_come_back(world: World) -> None:
    away = Site.of(pipeline("pay"), "pay.toml", Settings().at("127.0.0.1:9"), lambda: "127.0.0.1:9")
    with console([away]) as url:
        response = ask(url, "Stats", pb.StatsRequest(), secret(world))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


def test_from_another_machine_a_stranger_is_refused_before_the_body_is_read(world: World) -> None:
    headers = {"authorization": "Bearer tdm_nobody", "content-type": "application/json"}
    with console([site(world)], local=False) as url:
        response = plain_http.post(f"{url}/api/v1/pipelines/pay/answers", content=b"{", headers=headers, timeout=30)
    assert response.status_code == 401


def test_from_another_machine_a_service_without_tokens_hides_no_pipeline_of_one_that_has_them(
    world: World, tmp_path: Path
) -> None:
    with open_world(tmp_path, pipeline("open")) as its, console([its.site(), site(world)], local=False) as url:
        found = ask(url, "ListPipelines", admin_pb2.ListPipelinesRequest(), secret(world))
        refused = ask(url, "ListPipelines", admin_pb2.ListPipelinesRequest(), "tdm_nobody")
    assert [each["pipeline"] for each in found.json()["pipelines"]] == ["pay"]
    assert refused.status_code in {401, 403}


def test_where_no_tokens_are_asked_for_calls_are_taken_from_this_machine_alone(tmp_path: Path) -> None:
    with open_world(tmp_path, pipeline("pay")) as its:
        its.take_in(candidate(1))
        leased = plain_http.post(f"{its.url}/api/v1/pipelines/pay/leases", json={"annotator": "ida"}, timeout=30).json()
        assert len(leased["tasks"]) == 1
        with console([its.site()], local=False) as url:
            response = plain_http.get(f"{url}/api/v1/pipelines/pay/stats", headers={"authorization": "Bearer tdm_x"})
    assert response.status_code == 403


def test_calls_of_many_programs_go_over_one_connection_each_with_its_own_rights(world: World, url: str) -> None:
    tokens = {role: secret(world, role, f"p{role}") for role in Role}
    found: dict[Role, set[int]] = {role: set() for role in Role}

    def called(role: Role) -> None:
        for _ in range(10):
            found[role].add(ask(url, "ListAudit", admin_pb2.ListAuditRequest(), tokens[role]).status_code)

    threads = [threading.Thread(target=called, args=(role,)) for role in Role]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {role: {200 if role is Role.ADMIN else 403} for role in Role}
