"""The cycle collector is put off while a process imports, and only then."""

from __future__ import annotations

import gc
from pathlib import Path

from tidemark.runtime.garbage_collection import after_imports, from_now_on

ROOT = Path(__file__).parents[3]


def test_the_collector_works_again_once_all_is_imported() -> None:
    try:
        after_imports()
        assert not gc.isenabled()
        before = gc.get_freeze_count()
        kept = [[number] for number in range(1_000)]
        from_now_on()
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.enable()


def test_every_program_that_puts_the_collector_off_has_it_back() -> None:
    rooms = ("dataflows", "labeling_grpc", "console", "tidemark")
    texts = {path: path.read_text(encoding="utf-8") for room in rooms for path in (ROOT / room).rglob("*.py")}
    programs = {path: text for path, text in texts.items() if "collection.after_imports()" in text}
    assert len(programs) >= 5
    assert [path for path, text in programs.items() if text.count("from_now_on()") != 1] == []
