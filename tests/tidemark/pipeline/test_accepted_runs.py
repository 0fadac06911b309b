"""What `check` accepts, every part builds and runs: shipped and small files with changes of every kind."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import islice
from zlib import crc32

import pytest
import tomli_w
from models import pipeline_text
from mutations import SOURCES, Document, changes, several_changes
from running import run_everything

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse
from tidemark.pipeline.checks import MOST_LAST_PARTITIONS
from tidemark.selection.checkpoint import check_fits

ONE_IN = {"small": 16, "three": 25}
"""Of how many changes one is tried; all of them take minutes and are tried by setting these to 1."""
OTHERS = 300
SEVERAL = 6


def tried(name: str) -> Iterator[tuple[str, Document]]:
    document = tomllib.loads(SOURCES[name])
    one_in = ONE_IN.get(name, OTHERS)
    for told, changed in changes(document):
        if crc32(f"{name} {told}".encode()) % one_in == 0:
            yield told, changed
    yield from islice(several_changes(document, crc32(name.encode())), SEVERAL)


def accepted(text: str, name: str) -> Pipeline | None:
    """The pipeline; None where each line of the refusal names the file, and the line in it where there is one."""
    try:
        return parse(text, name)
    except ConfigError as error:
        lines = str(error).splitlines()
    unnamed = [line for line in lines if not re.match(rf"{name}(:\d+)?: ", line)]
    assert not unnamed
    return None


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_what_check_accepts_runs_and_what_it_refuses_is_told_by_key(name: str) -> None:
    run_everything(parse(SOURCES[name], name), trains=True)
    for told, document in tried(name):
        pipeline = accepted(tomli_w.dumps(document), name)
        if pipeline is None:
            continue
        try:
            run_everything(pipeline, trains="training" in told or "classes" in told)
        except Exception as error:
            raise AssertionError(f"check accepts {told}, which ends a part: {error!r}") from error


@pytest.mark.parametrize("topics", [1, 3])
def test_check_refuses_as_many_partitions_as_select_would(topics: int) -> None:
    most = MOST_LAST_PARTITIONS // topics
    check_fits(most * topics)
    with pytest.raises(ConfigError):
        check_fits((most + 1) * topics)
    more = "".join(f'[[raw]]\ntopic = "more-{i}"\n' for i in range(1, topics))
    text = pipeline_text().replace("[time]", f"{more}[time]")
    assert parse(text.replace("partitions = 2", f"partitions = {most}"), "p").partitions == most
    with pytest.raises(ConfigError, match=rf"p:\d+: partitions: .* write at most {most}"):
        parse(text.replace("partitions = 2", f"partitions = {most + 1}"), "p")
