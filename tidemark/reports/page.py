"""An HTML page in one file: its style, its tables, and texts from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from tidemark.runtime.safe_text import safe

_STYLE: Final = """
:root { color-scheme: light dark;
  --ink:#1b1f24; --soft:#57606a; --line:#d0d7de; --page:#fff; --good:#116329; --bad:#a40e26; --bar:#0b6bcb }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6edf3; --soft:#9198a1; --line:#30363d; --page:#0d1117; --good:#56d364; --bad:#ff7b72; --bar:#6cb6ff }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 2.5rem auto; padding: 0 1.25rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem }
p { margin: .25rem 0 .75rem } .lead { font-size: 1.15rem } .soft { color: var(--soft) }
.good { color: var(--good) } .bad { color: var(--bad) }
.figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: 1.5rem 0 }
.figures div { border-top: 2px solid var(--line); padding-top: .5rem } .figures b { display: block; font-size: 1.5rem }
.wide { overflow-x: auto; overflow-wrap: normal; margin-bottom: 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 500 } .said td, .said th { text-align: left }
.said td:first-child { white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 } svg { max-width: 100%; height: auto }
td.bar { width: 40% } td.bar i { display: block; background: var(--bar); height: .7rem; margin-top: .4rem }
summary { cursor: pointer; font-weight: 600; margin-top: 2.25rem }
.dark { display: none }
@media (prefers-color-scheme: dark) { .light { display: none } .dark { display: block } }
@media (max-width: 34rem) {
  .figures { grid-template-columns: repeat(2, 1fr) } .figures b { font-size: 1.25rem }
  th, td { padding: .3rem .35rem; font-size: .9rem }
  .said th { display: none } .said tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line) }
  .said td { display: block; padding: 0; border: 0; overflow-wrap: anywhere }
  .said td:nth-child(4)::before { content: "model: " } .said td:nth-child(5)::before { content: "answer: " }
}
"""


def page(title: str, body: str) -> str:
    """The text of a page.

    Args:
        title: plain text.
        body: HTML.

    Returns:
        The page.

    """
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark: {text(title)}</title><style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def text(plain: str) -> str:
    """Text from outside as HTML."""
    return escape(safe(plain))


def section(title: str, words: str, body: str, rows: Sequence[Any]) -> str:
    """A section, left out where there is nothing to show. title, words: plain text.  body: HTML."""
    return f'<h2>{text(title)}</h2>\n<p class="soft">{text(words)}</p>\n{body}' if rows else ""


def table(head: Iterable[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of plain texts. kind: a class of the style."""
    names = "".join(f"<th>{text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}">{f"<tr>{names}</tr>" if names else ""}{lines}</table></div>'


def figures(shown: Iterable[tuple[str, str]]) -> str:
    """Figures in large print, each with what it is."""
    return "".join(f"<div><b>{text(value)}</b>{text(what)}</div>" for value, what in shown)
