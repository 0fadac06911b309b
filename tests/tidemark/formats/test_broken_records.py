"""Broken records of every format: each is a dead letter with its reason, harms no neighbour, and can be repaired."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Final

import numpy as np
import pytest
from broken_corpus import FORMATS, Broken, batch_of, corpus, good, pipeline_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.formats.decoder import Decoder
from tidemark.pipeline import Pipeline
from tidemark.records.dead_letter import dead_letter
from tidemark.replay import Letter, Source
from tidemark.replay.corrections import Correction, corrected
from tidemark.runtime.processor import UNKNOWN_TIME

EACH: Final = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pipeline]:
    folder = tmp_path_factory.mktemp("schemas")
    return {form: pipeline_of(form, folder) for form in FORMATS}


def test_the_corpus_has_hundreds_of_records_of_all_formats() -> None:
    counts = Counter(each.format for each in corpus())
    assert counts.total() > 400
    assert set(counts) == set(FORMATS)
    assert min(counts.values()) > 30
    assert len({(each.format, each.name) for each in corpus()}) == len(corpus())


@EACH
def test_broken_records_are_refused_with_their_reasons_and_harm_no_neighbour(
    form: str, pipelines: dict[str, Pipeline]
) -> None:
    broken = [each for each in corpus() if each.format == form]
    mixed: list[Broken | bytes] = [good(form)]
    for each in broken:
        mixed += [each, good(form)]
    decoder = Decoder(pipelines[form])
    decoded = decoder.decode(batch_of(mixed))
    assert decoded.rows.tolist() == list(range(0, len(mixed), 2)), "each good one"
    assert decoded.frame.n_unique() == 1
    assert len(decoded.frame) == len(broken) + 1
    told = {each.row: each.reason for each in decoded.bad}
    for i, each in enumerate(broken):
        assert each.reason in told[2 * i + 1], each.name
        (alone,) = decoder.decode(batch_of([each])).bad
        assert alone.reason == told[2 * i + 1], each.name
    times = decoder.event_times(batch_of(mixed))
    assert set(times[::2]) == {decoded.times[0]}
    assert len(times) == len(mixed)


@EACH
def test_every_dead_letter_of_the_corpus_holds_its_record_whole_and_can_be_repaired(
    form: str, pipelines: dict[str, Pipeline]
) -> None:
    broken: list[Broken | bytes] = [each for each in corpus() if each.format == form]
    batch = batch_of(broken)
    repaired = []
    for row, each in enumerate(broken):
        assert isinstance(each, Broken)
        output = dead_letter("p.deadletter", batch, row, "decode", each.reason)
        headers = dict(output.headers)
        value = batch.values[row]
        if value is None or len(value) <= 900_000:
            assert output.value == value
        else:
            assert headers["size"] == str(len(value)).encode(), "told, and read again from where it came"
        own = tuple((name.removeprefix("record."), own) for name, own in output.headers if name.startswith("record."))
        source = Source("p.raw", 0, row, "0000aaaa", None)
        letter = Letter(0, row, source, "decode", "", 1, b"k", output.value, own, truncated=False, size=0, sha256=None)
        line = base64.b64encode(good(form)).decode()
        whole = corrected(letter, Correction(offset=row, base64=line, headers={}))
        assert whole.value is not None
        assert whole.headers == ()
        repaired.append(whole.value)
    decoded = Decoder(pipelines[form]).decode(batch_of(repaired))
    assert not decoded.bad
    assert len(decoded.rows) == len(broken)


MUTATION: Final = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 200), st.just(b"")),
    st.tuples(st.just("put"), st.integers(0, 200), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("over"), st.integers(0, 200), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("out"), st.integers(0, 200), st.binary(min_size=1, max_size=8)),
)


def mutated(value: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, content in changes:
        at = place % (len(value) + 1)
        if kind == "cut":
            value = value[:at]
        elif kind == "put":
            value = value[:at] + content + value[at:]
        elif kind == "over":
            value = value[:at] + content + value[at + len(content) :]
        else:
            value = value[:at] + value[at + len(content) :]
    return value


@EACH
@given(data=st.data())
@settings(max_examples=60)
def test_whatever_becomes_of_a_records_bytes_it_is_read_or_refused_and_its_neighbours_are_read(
    form: str, data: st.DataObject, pipelines: dict[str, Pipeline]
) -> None:
    changed = data.draw(st.lists(st.lists(MUTATION, min_size=1, max_size=4), min_size=1, max_size=6))
    values = [mutated(good(form), changes) for changes in changed]
    mixed: list[Broken | bytes] = [good(form)]
    for value in values:
        mixed += [value, good(form)]
    decoder = Decoder(pipelines[form])
    decoded = decoder.decode(batch_of(mixed))
    rows, bad = decoded.rows.tolist(), [each.row for each in decoded.bad]
    assert sorted([*rows, *bad]) == list(range(len(mixed)))
    assert set(range(0, len(mixed), 2)) <= set(rows)
    expected = decoder.decode(batch_of([good(form)])).frame.row(0)
    frame = decoded.frame.rows()
    assert all(frame[i] == expected for i, row in enumerate(rows) if row % 2 == 0)
    for value in values:
        alone = decoder.decode(batch_of([value]))
        place = mixed.index(value)
        assert [each.reason for each in alone.bad] == [each.reason for each in decoded.bad if each.row == place]
        assert alone.frame.rows() == [frame[i] for i, row in enumerate(rows) if row == place]
    assert np.isfinite(decoded.frame.select("a", "b", "c").to_numpy()).all()
    times = decoder.event_times(batch_of(mixed))
    assert all(times[row] != UNKNOWN_TIME for row in rows)
