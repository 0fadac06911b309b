"""A pipeline's figures in Prometheus's format. Names follow its rules: a prefix, base units, `_total` for counters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidemark.observe.catalog import metrics as catalog
from tidemark.observe.status_record import Status

_SUFFIXES: Final = {
    "s": "seconds",
    "share": "ratio",
    "0 to 1": "ratio",
    "probability": "ratio",
    "events a second": "per_second",
}
_OWN: Final = "the label's own"
"""Unit of figures that have that of the pipeline's label."""
_POWERS: Final = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_BASE: Final = {
    **{
        f"{prefix}{unit}": (base, power)
        for unit, base in (
            *(("s", "seconds"), ("m", "meters"), ("g", "grams"), ("V", "volts"), ("A", "amperes"), ("J", "joules")),
            *(("W", "watts"), ("Hz", "hertz"), ("Pa", "pascals"), ("B", "bytes")),
        )
        for prefix, power in _POWERS.items()
    },
    **{f"{prefix}Wh": ("joules", 3_600.0 * power) for prefix, power in _POWERS.items()},
    "min": ("seconds", 60.0),
    "h": ("seconds", 3_600.0),
    "d": ("seconds", 86_400.0),
    "cm": ("meters", 1e-2),
    "hPa": ("pascals", 1e2),
    "%": ("ratio", 1e-2),
    "degC": ("celsius", 1.0),
}
"""Prometheus's base unit of a label's unit, and how many of it one is. Others are told as they are."""
_WRITTEN: Final = str.maketrans(
    {"\N{GREEK SMALL LETTER MU}": "u", "\N{DEGREE SIGN}": "deg", "\N{GREEK CAPITAL LETTER OMEGA}": "ohm"}
    | {"\N{EURO SIGN}": "eur", "\N{MINUS SIGN}": "-", "\N{PER MILLE SIGN}": "permille", "\N{BULLET OPERATOR}": " "}
    | {"\N{MIDDLE DOT}": " ", "\N{MULTIPLICATION SIGN}": " ", "\N{DOT OPERATOR}": " "}
)
"""In letters that a name may have."""
_SECONDS: Final = re.compile(r"_per_second$")
_STATES: Final = ("well", "starting", "not started", "stopped", "wrong")


def exposition(statuses: Sequence[Status]) -> bytes:
    """What Prometheus reads.

    Args:
        statuses: of pipelines.

    Returns:
        Text.

    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Pipelines(statuses))
    return generate_latest(registry)


def name_of(metric: str, unit: str) -> str:
    """The name of one of Tidemark's metrics in Prometheus."""
    suffix = _SUFFIXES.get(unit, "")
    base = _SECONDS.sub("", metric) if suffix == "per_second" else metric
    return f"tidemark_{base}_{suffix}" if suffix and not base.endswith(suffix) else f"tidemark_{base}"


def of_label(metric: str, unit: str | None) -> tuple[str, float]:
    """The name of a metric that has the label's unit, and by how much its figures are multiplied.

    Args:
        metric: its name in Tidemark.
        unit: of the label, as the pipeline file has it; None: it has none.

    Returns:
        With the base unit where Prometheus has one, otherwise with the unit as it can be written in a name, or without
        one where it can't: no name tells another unit than the figure has.

    """
    written = unicodedata.normalize("NFKC", (unit or "").replace("\N{DEGREE SIGN}", "deg")).translate(_WRITTEN)
    base, factor = _BASE.get(written, ("", 1.0))
    suffix = base or _suffix(written)
    return f"tidemark_{metric}_{suffix}" if suffix else f"tidemark_{metric}", factor


def _suffix(unit: str) -> str:
    """A unit as part of a name; "" where a name can't hold all of it, for what is left would be another unit."""
    if not unit.isascii() or not unit.isprintable():
        return ""
    told = re.sub(r"-(?=[0-9])", " minus ", unit.lower().replace("%", "percent").replace("$", "dollar"))
    return re.sub(r"[^a-z0-9]+", "_", told.replace("/", "_per_")).strip("_")


class _Pipelines(Collector):
    def __init__(self, statuses: Sequence[Status]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterable[Metric]:
        """Every family, once, with all pipelines' samples."""
        yield from self._state()
        yield from self._flows()
        yield from self._labeling()
        yield from self._webhooks()
        yield from self._label_studio()
        yield from self._figures()

    def _family(self, name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, meaning, labels=("pipeline", *labels))

    def _state(self) -> Iterator[Metric]:
        state = self._family("tidemark_pipeline_state", "1 for the state that the pipeline is in.", "state")
        problems = self._family("tidemark_pipeline_problems", "Things that are wrong, as `tidemark status` says them.")
        for status in self._statuses:
            for name in _STATES:
                state.add_metric((status.pipeline, name), float(status.state == name))
            problems.add_metric((status.pipeline,), len(status.problems))
        yield from (state, problems)

    def _flows(self) -> Iterator[Metric]:
        processes = self._family("tidemark_flow_processes", "Processes of a flow.", "flow")
        behind = self._family("tidemark_flow_lag_records", "Records that a flow has not handled.", "flow")
        records = self._family("tidemark_topic_records", "Records in a topic, about.", "topic")
        for status in self._statuses:
            for flow in status.flows:
                processes.add_metric((status.pipeline, flow.name), flow.processes)
                behind.add_metric((status.pipeline, flow.name), flow.behind)
            for topic in status.topics:
                records.add_metric((status.pipeline, topic.name), topic.records)
        yield from (processes, behind, records)

    def _labeling(self) -> Iterator[Metric]:
        reachable = self._family("tidemark_labeling_up", "Whether the labeling service answers.")
        waiting = self._family("tidemark_labeling_cases_waiting", "Cases that wait for an answer.", "drawn")
        overdue = self._family("tidemark_labeling_cases_overdue", "Open cases whose due time has passed.")
        late = self._family(
            "tidemark_labeling_overdue_seconds", "For how long the case that was due first is overdue; 0: none is."
        )
        ended = CounterMetricFamily("tidemark_labeling_cases_ended", "Cases that ended.", labels=("pipeline", "how"))
        for status in self._statuses:
            queue = status.labeling
            reachable.add_metric((status.pipeline,), float(queue is not None and queue.reachable))
            if queue is None or not queue.reachable:
                continue
            waiting.add_metric((status.pipeline, "random"), queue.waiting_random)
            waiting.add_metric((status.pipeline, "chosen"), queue.waiting_active)
            overdue.add_metric((status.pipeline,), queue.overdue)
            late.add_metric((status.pipeline,), max(status.at - (queue.first_due or status.at), 0.0))
            for how, count in (("answered", queue.answered), ("skipped", queue.skipped), ("expired", queue.expired)):
                ended.add_metric((status.pipeline, how), count)
        yield from (reachable, waiting, overdue, late, ended)

    def _webhooks(self) -> Iterator[Metric]:
        runs = self._family("tidemark_webhook_up", "Whether a webhook runs.", "webhook")
        waiting = self._family("tidemark_webhook_waiting", "Deliveries that its receiver has not taken.", "webhook")
        failing = self._family(
            "tidemark_webhook_failing_seconds", "For how long what waits has failed; 0: nothing has.", "webhook"
        )
        taken, lost = (
            CounterMetricFamily(f"tidemark_webhook_{name}", meaning, labels=("pipeline", "webhook"))
            for name, meaning in (("delivered", "Deliveries taken."), ("given_up", "Deliveries that are dead letters."))
        )
        for status in self._statuses:
            for each in status.webhooks:
                of = status.pipeline, each.name
                since = each.failing_since
                runs.add_metric(of, float(each.runs))
                waiting.add_metric(of, each.waiting)
                failing.add_metric(of, 0.0 if since is None else max(status.at - since, 0.0))
                taken.add_metric(of, each.delivered)
                lost.add_metric(of, each.given_up)
        yield from (runs, waiting, failing, taken, lost)

    def _label_studio(self) -> Iterator[Metric]:
        runs = self._family("tidemark_label_studio_up", "Whether the bridge to Label Studio runs.")
        offered = self._family("tidemark_label_studio_cases_offered", "Cases that wait for an answer there.")
        failing = self._family(
            "tidemark_label_studio_failing_seconds", "For how long the bridge has not got through; 0: it does."
        )
        ended = CounterMetricFamily(
            "tidemark_label_studio_annotations", "Annotations that were dealt with.", labels=("pipeline", "how")
        )
        for status in self._statuses:
            bridge = status.label_studio
            if bridge is None:
                continue
            since = bridge.failing_since
            runs.add_metric((status.pipeline,), float(bridge.runs))
            offered.add_metric((status.pipeline,), bridge.offered)
            failing.add_metric((status.pipeline,), 0.0 if since is None else max(status.at - since, 0.0))
            for how, count in (("taken", bridge.taken), ("refused", bridge.refused)):
                ended.add_metric((status.pipeline, how), count)
        yield from (runs, offered, failing, ended)

    def _figures(self) -> Iterator[Metric]:
        """Each figure of `P.metrics`, its interval's ends and how many it rests on as further families."""
        kinds = catalog().all()
        found: dict[str, GaugeMetricFamily] = {}
        for status in self._statuses:
            for figure in status.figures:
                kind = kinds.get(figure.name)
                if kind is None:  # of a package that is not installed here: nobody knows its unit
                    continue
                name, factor = name_of(kind.name, kind.unit), 1.0
                if kind.unit == _OWN:
                    name, factor = of_label(kind.name, status.label_unit)
                parts = (
                    ("", kind.meaning, figure.value, factor),
                    ("_low", "Lower end of the 95 % interval.", figure.low, factor),
                    ("_high", "Upper end of the 95 % interval.", figure.high, factor),
                    ("_observations", "What the figure rests on.", float(figure.n), 1.0),
                )
                for suffix, meaning, value, times in parts:
                    if value is None:
                        continue
                    family = found.setdefault(name + suffix, self._family(name + suffix, meaning, "source", "model"))
                    family.add_metric((status.pipeline, figure.source, figure.model), value * times)
        yield from found.values()
