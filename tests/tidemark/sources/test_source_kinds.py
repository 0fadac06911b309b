"""What holds for every kind of source, those of other packages too."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from sourcing import pipeline_of

from tidemark.errors import ConfigError
from tidemark.pipeline import load, schema_hash
from tidemark.pipeline.source_checks import source_problems
from tidemark.records.source_kinds import SOURCE_KINDS, SourceKind, SourceOptions
from tools.reference import GENERATED

KINDS = list(SOURCE_KINDS.own)
_SECRETS = re.compile(r"password|token|secret|key$")


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_it_reads_and_what_each_option_and_attribute_means(name: str) -> None:
    kind = SOURCE_KINDS.get(name)
    texts = [kind.meaning, *(field.description or "" for field in kind.options.model_fields.values())]
    assert all(re.match(r"[A-Z`].*\.$", text, re.DOTALL) for text in [*texts, *kind.attributes.values()])
    assert "body" not in kind.attributes


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_in_the_reference_with_every_option(name: str) -> None:
    page = GENERATED["reference/sources.md"]()
    section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
    assert [option for option in SOURCE_KINDS.get(name).options.model_fields if f"`{option}`" not in section] == []


@pytest.mark.parametrize("name", KINDS)
def test_no_option_of_a_kind_takes_a_secret_in_the_clear(name: str) -> None:
    fields = SOURCE_KINDS.get(name).options.model_fields
    named = [
        field
        for field in fields
        if _SECRETS.search(field) and not field.endswith(("_file", "_files", "_env", "_envs", "tls_key"))
    ]
    assert named == []


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_option_of_a_kind_is_refused(name: str) -> None:
    options = SOURCE_KINDS.get(name).options
    assert issubclass(options, SourceOptions)
    with pytest.raises(ValidationError, match="no_such_option"):
        options.model_validate({"no_such_option": 1})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"columns": {"nothing": "id"}}, r"sources\[0\].columns.nothing: there is no column 'nothing'"),
        ({"columns": {"a": "idd"}}, r"sources\[0\].columns.a: a source of kind http tells no 'idd'; did you mean 'id'"),
        ({"columns": {"a": "extension."}}, "tells no 'extension.'"),
        ({"columns": {"a": "body"}}, 'write body = "text" as well'),
        ({"body": "text"}, "bodies are texts"),
        ({"topic": "q.raw"}, r"sources\[0\].topic: 'q.raw' is no raw topic"),
    ],
)
def test_what_a_source_says_is_checked_with_the_file(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("http", {}, **spec)


def test_a_column_that_senders_could_tell_in_an_object_is_told_by_no_source() -> None:
    pipeline = pipeline_of("http", {}, columns={"a": "id"})
    column = pipeline.columns["a"].model_copy(update={"names": ["meta.id"]})
    dotted = pipeline.model_copy(update={"columns": {**pipeline.columns, "a": column}})
    (problem,) = source_problems(dotted)
    assert problem.text.startswith("a column with a dot in its name can't be told by a source")


def test_a_kind_that_there_is_not_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"sources\[0\].kind: 'htp' is not allowed; write .*'http'"):
        pipeline_of("htp", {})


def test_sources_change_nothing_of_what_a_model_is_trained_on() -> None:
    plain = load("pipelines/fraud.toml")
    sourced = plain.model_copy(update={"sources": pipeline_of("http", {}).sources})
    assert schema_hash(sourced) == schema_hash(plain)
    assert "sources" not in plain.model_dump()


class NoOptions(BaseModel):
    """Not of sources."""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (object(), "not a SourceKind"),
        (SourceKind("X.", NoOptions, {}, lambda _: None), "no subclass of SourceOptions"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_kind_is_told(found: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SOURCE_KINDS._accept("x", found)


def test_events_that_http_unwraps_are_not_for_a_topic_of_events() -> None:
    http = pipeline_of("http", {})
    events = http.model_copy(update={"raw": (http.raw[0].model_copy(update={"format": "cloudevents"}),)})
    (problem,) = source_problems(events)
    assert (problem.key, 'write format = "json"' in problem.text) == ("sources[0].kind", True)
