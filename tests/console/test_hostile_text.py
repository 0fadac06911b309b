"""Whatever a text from outside says, a page has the elements and attributes that it has for a harmless text.

Every template is rendered with a hostile text in the place of each value that it shows, however deep; so a template or
a value that is added is covered without being named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import pytest
from jinja2 import Environment, meta, nodes
from jinja2.environment import Template

from console.rendering import templates

TEMPLATES: Final = sorted(Path(templates().loader.searchpath[0]).glob("*.html"))  # type: ignore[union-attr]
WHOLE: Final = {"live", "inner"}
"""Names that hold HTML which `rendered` made before: of templates that are tested here themselves."""
GIVEN: Final[dict[str, Any]] = {"base": "/p/fraud", "hours": ["1", "6"]}
"""What is no text from outside: a pipeline's name has letters, digits and dashes alone."""
HOSTILE: Final = [
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</title></svg></style></textarea><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "//evil.example/",
    "--><svg onload=alert(1)>",
    "{{ 7919 * 7907 }}{% raw %}",
    "&lt;b&gt;&#60;b&#62;",
    "\u202egnp\u200b\x1b[2J\0",
]
_LINKS: Final = {"href", "src", "action", "formaction", "hx-get", "hx-post", "data", "xlink:href", "data-base"}


class Text(str):
    """A text that is also whatever a template takes it for: a list of itself, a structure of itself."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - as a template asks
        return str.__getattribute__(self, name) if name.startswith("__") or name in {"encode", "isascii"} else self

    def __getitem__(self, _key: object) -> Self:
        return self

    def __call__(self, *_: object, **__: object) -> Self:
        return self

    def __iter__(self) -> Iterator[Self]:
        yield self

    def __format__(self, _spec: str) -> str:
        return str(self)

    def __joined(self, _other: object) -> Self:
        return self

    __add__ = __radd__ = __mul__ = __joined

    def __compared(self, _other: object) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __compared


class Rows(Environment):
    """Loops over rows of several values get such rows; a table of words that is asked for a text gives its first."""

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - as jinja has it
        if isinstance(obj, dict) and isinstance(argument, Text):
            return next(iter(obj.values()))
        return super().getitem(obj, argument)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = super()._parse(source, name, filename)
        for loop in parsed.find_all(nodes.For):
            if isinstance(loop.target, nodes.Tuple):
                count = nodes.Const(len(loop.target.items))
                loop.iter = nodes.Filter(loop.iter, "rows", [count], [], None, None)
        return parsed


@cache
def environment() -> Environment:
    made = templates().overlay(cache_size=100)
    made.__class__ = Rows
    finalize = made.finalize
    assert finalize is not None
    made.finalize = lambda value: finalize(str(value) if isinstance(value, Text) else value)
    made.filters = {**made.filters, "rows": lambda value, count: [(value,) * count]}
    return made


@cache
def names() -> frozenset[str]:
    """Of the values of all templates."""
    found: set[str] = set()
    for path in TEMPLATES:
        found |= meta.find_undeclared_variables(templates().parse(path.read_text(encoding="utf-8")))
    return frozenset(found - set(templates().globals))


class Structure(HTMLParser):
    """Elements and the names of their attributes, in order, and the addresses that they lead to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in _LINKS]

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", (data,)))


def structure(text: str) -> Structure:
    read = Structure()
    read.feed(text)
    read.close()
    return read


def shown(path: Path, value: str) -> str:
    template: Template = environment().get_template(path.name)
    text = Text(value)
    return template.render({name: "" if name in WHOLE else text for name in names()} | GIVEN)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_changes_no_page(path: Path, hostile: str) -> None:
    harmless, found = structure(shown(path, "h" * len(hostile))), structure(shown(path, hostile))
    assert found.found == harmless.found
    for link in found.links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) == ("", ""), link
        assert link.startswith(("/", "#")) or link == hostile.strip(), link


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_nothing_is_shown_as_html_but_what_was_rendered_before(path: Path) -> None:
    parsed = templates().parse(path.read_text(encoding="utf-8"))
    exempt = [each.node for each in parsed.find_all(nodes.Filter) if each.name in {"safe", "forceescape"}]
    assert {each.name if isinstance(each, nodes.Name) else repr(each) for each in exempt} <= WHOLE
    assert list(parsed.find_all((nodes.ScopedEvalContextModifier, nodes.MarkSafe))) == []


def test_scripts_take_html_from_our_own_server_alone() -> None:
    folder = Path(templates().loader.searchpath[0]).parent / "static" / "js"  # type: ignore[union-attr]
    taken = {}
    for file in sorted(folder.glob("*.js")):
        text = file.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
            if word in text:
                taken[file.name, word] = text.count(word)
    assert taken == {("label.js", "innerHTML"): 1, ("loop.js", "innerHTML"): 1}
