"""A process whose Kafka has ended waits for none of its clients at its end."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import atexit, sys, time
from tidemark.runtime.leaving import kafka_has_ended, leave
atexit.register(lambda: sys.stdout.write("let go"))
print("done")
if {ended}:
    kafka_has_ended()
leave({status!r})
"""


@pytest.mark.parametrize(("status", "code"), [(None, 0), (0, 0), (130, 130)])
def test_it_leaves_at_once_with_its_status_and_all_that_it_has_said(status: int | None, code: int) -> None:
    program = _PROGRAM.format(ended=True, status=status)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "done\n")


def test_another_process_ends_as_every_one() -> None:
    program = _PROGRAM.format(ended=False, status=3)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "done\nlet go")
