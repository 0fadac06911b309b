"""What `tidemark --help` shows: the commands by what they are for, from their table, without a library."""

from __future__ import annotations

from typing import Final

from tidemark.cli.commands import COMMANDS, PANELS

_HEAD: Final = """Usage: tidemark COMMAND [OPTIONS] [ARGUMENTS]

Real-time active learning on Apache Kafka. `tidemark COMMAND --help` says more.
"""
_OPTIONS: Final = """Options
  --version             Show the version.
  --install-completion  Have the shell complete commands and options.
  --show-completion     Print what that would install.
  --help                Show this message.
"""


def overview() -> str:
    """The text, in lines of at most 80 characters."""
    width = max(map(len, COMMANDS))
    parts = [_HEAD]
    for panel, lines in PANELS.items():
        shown = [f"  {name:{width}}  {line}\n" for name, line in lines.items()]
        parts.append("".join([f"{panel}\n", *shown]))
    return "\n".join([*parts, _OPTIONS])
