"""What processes have used: processor seconds, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

_MB: Final = 1_024


def processor_seconds(pid: int) -> float:
    """User's and system's seconds of a process and its children, ended ones too; 0 if it has ended."""
    total = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def peak_mb(pid: int) -> float:
    """Most resident memory of a process and its children, each at its own peak."""
    total = 0
    for process in _tree(pid):
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total / _MB


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
