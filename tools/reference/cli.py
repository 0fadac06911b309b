"""The command line, from Typer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from tidemark.cli.app import app
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# The command line

Every command has `--help`. A command that can't do what it was asked says why in a sentence, and ends with a status
other than 0.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something.

    Yields:
        Its whole name, as `tidemark broker up`, and the command.

    """
    yield from _below("tidemark", get_command(app))


def cli_page() -> str:
    """The page's Markdown."""
    parts = [_INTRO]
    for name, command in commands():
        parts += [f"## {name}\n", _help(command), _usage(name, command)]
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        if arguments:
            parts.append(table(["argument", "meaning"], [(code(_shown(a)), prose(a.help or "")) for a in arguments]))
        if options:
            rows = [(code(", ".join(o.opts + o.secondary_opts)), _default(o), prose(o.help or "")) for o in options]
            parts.append(table(["option", "default", "meaning"], rows))
    return "\n".join(parts)


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 Typer hides the types of its commands
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    for child in command.list_commands(None):
        yield from _below(f"{name} {child}", command.get_command(None, child))


def _help(command: Any) -> str:  # noqa: ANN401 as above
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    return "\n\n".join(prose(paragraph) for paragraph in text.split("\n\n")) + "\n"


def _usage(name: str, command: Any) -> str:  # noqa: ANN401 as above
    arguments = [_shown(each) for each in command.params if each.param_type_name == "argument"]
    return "```text\n" + " ".join([name, "[OPTIONS]", *arguments]) + "\n```\n"


def _shown(argument: Any) -> str:  # noqa: ANN401 as above
    name = (argument.metavar or argument.name).strip("{}").upper()
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _default(option: Any) -> str:  # noqa: ANN401 as above
    if option.required:
        return "required"
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    if shown in {None, False, "", ()} or callable(shown):
        return "–"
    return prose(str(shown)) if isinstance(option.show_default, str) else code(str(shown))
