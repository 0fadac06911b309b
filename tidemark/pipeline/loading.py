"""From a TOML file to a checked pipeline, or to one error that names everything that is wrong."""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidemark.errors import ConfigError
from tidemark.pipeline.checked import CheckedTexts
from tidemark.pipeline.checks import find_problems
from tidemark.pipeline.lines import Lines, key_of
from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.problem import Problem, first_line
from tidemark.runtime.suggestions import did_you_mean

_SHOWN: Final = 60


def load(path: str | Path, checked: CheckedTexts | None = None) -> Pipeline:
    """The pipeline in a TOML file.

    Args:
        path: of the file.
        checked: as of `parse`.

    Returns:
        The pipeline.

    Raises:
        ConfigError: the file can't be read, is no TOML, or is wrong; one line for each thing that is, as
            `pipelines/fraud.toml:48: windows[2].size: '1 hour' is not a duration; write '1h'`.

    """
    return parse(read(path), str(path), checked)


def read(path: str | Path) -> str:
    """The text of a pipeline file.

    Raises:
        ConfigError: it can't be read.

    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise ConfigError(f"{path}: there is no such file; {did_you_mean(path.name, near)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def in_folder(pipeline: Pipeline, folder: Path) -> Pipeline:
    """A pipeline whose file names other files from another folder, as one that was read from a copy of its file.

    Args:
        pipeline: as it was loaded.
        folder: of the file that people edit.

    """
    moved = pipeline.model_copy()
    moved._folder = folder  # noqa: SLF001 the model's own room
    return moved


def parse(text: str, name: str, checked: CheckedTexts | None = None) -> Pipeline:
    """The pipeline in TOML text.

    Args:
        text: of the file.
        name: stands for the file in errors.
        checked: expressions that were found right before, which are not tried again.

    Returns:
        The pipeline.

    Raises:
        ConfigError: as `load`.

    """
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{name}: is no pipeline file: its lists or tables are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError is one; a number of thousands of digits another
        raise ConfigError(f"{_place(name, _line_told(error, text))}: is no TOML: {first_line(error)}") from error
    if not document:
        raise ConfigError(f"{name}: is empty; `tidemark init --topic TOPIC` drafts one from a topic's records")
    oversized = [Problem(key, "is a whole number beyond 64 bits; write a smaller one") for key in _oversized(document)]
    if oversized:
        raise _config_error(name, text, oversized)
    try:
        pipeline = Pipeline.model_validate(document)
    except ValidationError as error:
        problems = [_problem(details, document) for details in error.errors(include_url=False)]
        raise _config_error(name, text, _merged(problems)) from error
    pipeline._folder = Path(name).parent  # noqa: SLF001 the model's own room
    problems = find_problems(pipeline, checked)
    if problems:
        raise _config_error(name, text, problems)
    return pipeline


def _oversized(value: object, location: tuple[int | str, ...] = ()) -> Iterator[str]:
    """Where whole numbers stand that TOML has no room for: Python's can't even be shown from 4,300 digits on."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _oversized(inner, (*location, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _oversized(inner, (*location, i))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield key_of(location)


def _config_error(name: str, text: str, problems: list[Problem]) -> ConfigError:
    lines = Lines(text)
    told = (f"{_place(name, lines.of(each.key))}: {_shown(each.key)}: {_shown(each.text)}" for each in problems)
    return ConfigError("\n".join(told))


def _place(name: str, line: int | None) -> str:
    """File and line as compilers write them: terminals and editors open the line."""
    return name if line is None else f"{name}:{line}"


def _line_told(error: ValueError, text: str) -> int | None:
    """The line that tomllib's sentence names."""
    if "at end of document" in str(error):
        return text.count("\n") + 1
    told = re.search(r"\(at line (\d+), column \d+\)$", str(error))
    return None if told is None else int(told[1])


def _shown(text: str) -> str:
    """The text with what can't be seen, such as a newline in a name, as Python writes it: a problem is a line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _problem(details: ErrorDetails, document: dict[str, Any]) -> Problem:
    location = _without_branches(details["loc"], document)
    key = key_of(tuple(location))
    kind, value = details["type"], details["input"]
    shown = repr(value) if len(repr(value)) <= _SHOWN else f"{repr(value)[:_SHOWN]}…"
    if kind == "extra_forbidden":
        known = _keys_at(location[:-1])
        return Problem(key, f"is no key of a pipeline file; {did_you_mean(str(location[-1]), known)}")
    if kind == "missing":
        return Problem(key, f"is missing; add it{_meaning(location)}")
    if kind in {"duration", "registry"}:
        return Problem(key, details["msg"])
    if kind == "literal_error":
        allowed = details["ctx"]["expected"]
        return Problem(key, f"{shown} is not allowed; write {allowed}")
    if kind == "string_pattern_mismatch":
        return Problem(key, f"{shown} is not allowed; write text that matches {details['ctx']['pattern']}")
    message = details["msg"][0].lower() + details["msg"][1:]
    return Problem(key, f"{shown} is wrong; {message.replace('input should', 'it should')}")


def _merged(problems: list[Problem]) -> list[Problem]:
    """One problem a key: a value of several allowed types is wrong in as many ways."""
    merged: dict[str, Problem] = {}
    for problem in problems:
        first = merged.setdefault(problem.key, problem)
        if first is not problem and problem.text != first.text:
            also = problem.text.rpartition("it should be ")[2]
            merged[problem.key] = Problem(problem.key, f"{first.text} or {also}")
    return list(merged.values())


def _without_branches(location: tuple[int | str, ...], document: object) -> list[int | str]:
    """Location in the file: pydantic adds the branch of a union (`missing[0].str`) that the file has not."""
    path: list[int | str] = []
    here = document
    for i, step in enumerate(location):
        if isinstance(here, dict):
            path.append(step)
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int):
            path.append(step)
            here = here[step] if step < len(here) else None
        elif i == len(location) - 1 and here is None:
            path.append(step)
    return path


def _model_at(location: list[int | str]) -> type[BaseModel] | None:
    """Class of the table at a location; None where there is none."""
    annotation: Any = Pipeline
    for step in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if str(step) not in annotation.model_fields:
                return None
            annotation = _plain(annotation.model_fields[str(step)].annotation)
        else:
            arguments = get_args(annotation)
            annotation = _plain(arguments[-1]) if arguments else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - an annotation can be anything
    """The annotation without `| None` and `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    if hasattr(annotation, "__metadata__"):
        return get_args(annotation)[0]
    return annotation


def _keys_at(location: list[int | str]) -> list[str]:
    model = _model_at(location)
    return [] if model is None else list(model.model_fields)


def _meaning(location: list[int | str]) -> str:
    model = _model_at(location[:-1])
    field = None if model is None else model.model_fields.get(str(location[-1]))
    if field is None or not field.description:
        return ""
    told = " ".join(field.description.split())  # a problem is a line
    return f": {told[0].lower()}{told[1:].rstrip('.')}"
