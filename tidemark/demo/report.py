"""The demo's report: one HTML file that needs nothing beside it, light or dark as the reader prefers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tidemark.demo.plot import save_png, svg
from tidemark.demo.result import DemoResult, ModelPoint
from tidemark.demo.sentence import sentence
from tidemark.reports.page import figures, page, section, table, text
from tidemark.reports.picture import DARK, LIGHT

_REASONS: Final = {
    "explore": "drawn at random, to measure the model",
    "uncertain": "the model could not tell",
    "diverse": "unlike what was labeled before",
    "cold": "there was no model yet",
    "imported": "brought in by hand",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def write_report(result: DemoResult, folder: Path) -> Path:
    """Write `report.html` and `report.png` into the folder; returns the HTML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    save_png(result, folder / "report.png")
    path = folder / "report.html"
    path.write_text(html(result), encoding="utf-8")
    return path


def html(result: DemoResult) -> str:
    """The report's text."""
    return page(
        result.title,
        f"""<h1>{text(result.title)}</h1>
<p class="lead">{text(sentence(result))}</p>
<div class="figures">{_figures(result)}</div>
<h2>Average precision against labels spent</h2>
<p class="soft">On {result.holdout:,} later events that neither arm saw, by the simulator's truth. A model that guesses
reaches {result.base_rate:.3f}, the share of positive events. Thin lines are the single random draws.</p>
<div class="light">{svg(result, LIGHT)}</div><div class="dark">{svg(result, DARK)}</div>
{_measured(result)}
{_asked(result)}
{_weights(result)}
{_reliability(result)}
<h2>What was lost</h2>
{_accounting(result)}
<details><summary>All {len(result.active) + sum(map(len, result.draws)):,} models</summary>{_models(result)}</details>
<p class="soft">The active arm ran through Kafka, live. Each random arm asked the same annotators about as many events
of each tile of the same stream, drawn at random, and was trained by the same trainer on the same schedule and features
after the stream had ended. Seed {result.seed}.</p>""",
    )


def _figures(result: DemoResult) -> str:
    counted = result.accounting
    final = result.active[-1].average_precision if result.active else None
    shown = [
        (f"{counted.events:,}", "events streamed"),
        (f"{result.rate:,.0f}/s", f"over {result.seconds:.0f} s"),
        (f"{counted.labels:,}", f"labels of a budget of {counted.budget:,}"),
        ("–" if final is None else f"{final:.3f}", "average precision of the last model"),
        (f"{result.latency.p50:,.0f} ms", f"median latency; p99 {result.latency.p99:,.0f} ms"),
        (str(counted.lost), "events lost"),
    ]
    return figures(shown)


def _measured(result: DemoResult) -> str:
    rows = [
        (
            figure.model,
            f"{figure.value:.3f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
            f"{figure.truth:.3f}",
            f"{figure.n:,}",
        )
        for figure in result.measured
    ]
    said = table(("model", "as the loop measured it", "95 % interval", "truth, later period", "answers"), rows)
    return section(
        "Is the model good? What the loop said, and the truth",
        "The loop knows only answers of cases that were drawn at random, of the days that were streamed; the truth is "
        "of all later events.",
        said,
        rows,
    )


def _asked(result: DemoResult) -> str:
    counts = [
        (_REASONS.get(count.reason, count.reason), f"{count.asked:,}", f"{count.positives / count.asked:.0%}")
        for count in result.reasons
    ]
    examples = [
        (
            _time(example.time),
            _REASONS.get(example.reason, example.reason),
            ", ".join(f"{name} {_value(value)}" for name, value in example.context.items()),
            "–" if example.said is None else f"{example.said:.0%}",
            example.answer + ("" if example.answer == example.truth else f" (truth: {example.truth})"),
        )
        for example in result.asked
    ]
    shown = table(("why", "cases", f"answered {result.positive}"), counts) + table(
        ("when", "why", "what the annotator saw", f"model: {result.positive}", "answer"), examples, kind="said"
    )
    return section("What was asked", "Each reason with the share of its answers, and examples.", shown, examples)


def _weights(result: DemoResult) -> str:
    largest = max((weight.share for weight in result.weights), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{text(weight.name)}</td><td>{weight.share:.0%}</td>"
        f'<td class="bar"><i style="width:{100 * weight.share / largest:.0f}%"></i></td></tr>'
        for weight in result.weights
    )
    return section(
        "Which features decide",
        "Share of all that moved the last model's scores of later events (mean absolute Shapley values).",
        f'<div class="wide"><table>{rows}</table></div>',
        result.weights,
    )


def _reliability(result: DemoResult) -> str:
    rows = [
        (f"{row.predicted:.1%}", f"{row.observed:.1%}", f"{row.share * result.holdout:,.0f}")
        for row in result.reliability
    ]
    error = sum(row.share * abs(row.observed - row.predicted) for row in result.reliability)
    return section(
        "Do the probabilities come true?",
        f"Later events by what the last model said of them. Mean error {error:.2%}.",
        table(("the model said, in the mean", f"were {result.positive}", "events"), rows),
        rows,
    )


def _accounting(result: DemoResult) -> str:
    counted = result.accounting
    bad = counted.lost or counted.doubled or counted.labels_doubled
    verdict = (
        '<p class="bad">Something was lost or doubled.</p>'
        if bad
        else '<p class="good">Nothing was lost and nothing was done twice.</p>'
    )
    rows = [
        ("events in the raw topic", counted.events),
        ("events predicted once", counted.predicted),
        ("events predicted more than once", counted.doubled),
        ("dead letters", counted.dead_letters),
        ("candidates offered to annotators", counted.candidates),
        ("labels in the labels topic", counted.labels),
        ("of these answered", counted.answered),
        ("labels there more than once", counted.labels_doubled),
    ]
    return verdict + table((), [(name, f"{count:,}") for name, count in rows])


def _models(result: DemoResult) -> str:
    rows = [_model("active", point) for point in result.active]
    for number, points in enumerate(result.draws, start=1):
        rows += [_model(f"random {number}", point) for point in points]
    return table(("arm, version", "labels", "positive", "average precision"), rows)


def _model(arm: str, point: ModelPoint) -> tuple[str, ...]:
    return f"{arm} {point.version}", f"{point.labels:,}", f"{point.positives:,}", f"{point.average_precision:.3f}"


def _time(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M")


def _value(value: object) -> str:
    return "–" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)
