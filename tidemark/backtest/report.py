"""The report of a simulation: one HTML file that needs nothing beside it, light or dark as the reader prefers."""

from __future__ import annotations

from tidemark.backtest.picture import svg
from tidemark.backtest.result import Simulation
from tidemark.backtest.sentence import about, capital, sentence
from tidemark.reports.page import figures, page, section, table, text
from tidemark.reports.picture import DARK, LIGHT


def html(found: Simulation) -> str:
    """The report's text."""
    notes = "".join(f"<li>{text(note)}</li>" for note in found.notes)
    return page(
        f"{found.title}, simulated",
        f"""<h1>{text(found.title)}, simulated</h1>
<p class="lead">{text(sentence(found))}</p>
<div class="figures">{_figures(found)}</div>
<h2>{text(capital(found.metric))} by labels</h2>
<p class="soft">{text(about(found))} A model that says the same of every event has {found.constant:.3f}. A shade is
where 95 % of runs like it are to be expected, on a later period as long as the exam.</p>
<div class="light">{svg(found, LIGHT)}</div><div class="dark">{svg(found, DARK)}</div>
{_arms(found)}
<h2>Settings</h2>
<p class="soft">To set in the pipeline's file.</p>
<div class="wide"><pre>{text_lines(found.toml)}</pre></div>
{section("Notes", "What was cut, left out, or can't be known.", f"<ul>{notes}</ul>", found.notes)}
<p class="soft">Played without Kafka by the product's own selection, schedule, gate and trainer, on the features that
the stream would have computed. A label is known only when its answer would have come.</p>""",
    )


def text_lines(plain: str) -> str:
    """Several lines of text as HTML."""
    return "\n".join(text(line) for line in plain.rstrip("\n").split("\n"))


def _figures(found: Simulation) -> str:
    arm = found.arm(found.chosen)
    return figures(
        (
            (f"{found.events:,}", "events in the history"),
            (f"{found.labels:,}", f"labels, {found.positives:,} {found.positive}" if found.positive else "labels"),
            (f"{found.played:,}", "events streamed"),
            (f"{found.exam:,}", "later labels that models are examined on"),
            (f"{arm.mean[-1]:.3f}", f"{found.metric}{found.off(arm.mean[-1])} after {arm.grid[-1]:,} labels"),
            ("–" if found.stop is None else f"{found.stop:,}", "labels from which on more stop paying"),
        )
    )


def _arms(found: Simulation) -> str:
    rows = [
        (
            arm.name,
            found.told(arm.mean[-1]),
            f"{arm.low[-1]:.3f} to {arm.high[-1]:.3f}",
            f"{arm.area:.3f}",
            "" if arm.gain is None else f"{arm.gain:+.3f}",
            "never" if arm.as_good_from is None else f"{arm.as_good_from:,}",
            str(arm.seeds),
        )
        for arm in found.arms
    ]
    head = ("what is played", f"after {found.own.grid[-1]:,}", "95 % of runs", "mean over labels", "gain")
    return table((*head, "labels to random's end", "plays"), rows)
