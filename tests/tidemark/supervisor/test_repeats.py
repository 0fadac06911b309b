"""A process that writes the same again and again does not fill the log, and nothing that it says first is left out."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tidemark.supervisor.log import KEPT, Log
from tidemark.supervisor.repeats import Repeats

_LOST = "%3|{at}|FAIL|tidemark#consumer-{n}| Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after {n}ms)"


def test_a_minute_without_kafka_is_a_few_lines_and_tells_how_many_there_were() -> None:
    repeats = Repeats()
    lines = [_LOST.format(at=second + n / 300, n=n) for second in range(60) for n in range(300)]
    written = [line for i, text in enumerate(lines) if (line := repeats.line(text, i / 300)) is not None]

    assert len(written) <= 25
    assert written[:5] == lines[:5]
    assert "lines like this were left out" in written[-1]


@given(st.lists(st.text(max_size=20), max_size=60))
def test_the_first_lines_of_every_kind_are_written_as_they_are(texts: list[str]) -> None:
    repeats = Repeats(often=60)

    assert [repeats.line(text, float(i)) for i, text in enumerate(texts)] == texts


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["a 1", "a 2", "b"])), max_size=300))
def test_every_line_is_written_or_counted(steps: list[tuple[float, str]]) -> None:
    repeats, now, written, counted = Repeats(often=2), 0.0, 0, 0
    for pause, text in steps:
        now += pause
        line = repeats.line(text, now)
        if line is not None:
            written += 1
            counted += int(line.rpartition("(")[2].split(" ")[0].replace(",", "")) if "left out" in line else 0
    pending = sum(kind.left_out for kind in repeats._kinds.values())

    assert written + counted + pending == len(steps)


def test_what_comes_after_a_silence_is_written_again() -> None:
    repeats = Repeats(often=1)
    assert [repeats.line("no Kafka", now) for now in (0.0, 1.0, 2.0)] == ["no Kafka", "no Kafka", None]

    assert repeats.line("no Kafka", 100.0) == "no Kafka (1 lines like this were left out)"


def test_a_log_stays_within_its_size_and_for_its_owner_alone(tmp_path: Path) -> None:
    with Log(tmp_path / "tidemark.log", most_bytes=1_000) as log:
        for number in range(200):
            log.write(f"line {number} with a surrogate \ud800\n")

    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["tidemark.log", "tidemark.log.1", "tidemark.log.2"]
    assert len(files) == KEPT + 1
    assert all(file.stat().st_size <= 1_000 and not file.stat().st_mode & 0o077 for file in files)
    assert files[0].read_text().splitlines()[-1].startswith("line 199 ")
