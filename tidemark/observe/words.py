"""A pipeline's status in words: the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tidemark.observe.status_record import (
    AlertsStatus,
    BudgetStatus,
    DecisionsStatus,
    LabelingStatus,
    QualityStatus,
)
from tidemark.runtime.figures import figure, probability

R_SQUARED: Final = "r_squared"
"""The one measure that is no share: below 0 for a model that is worse than to say the mean."""
_MEASURES: Final = {
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "macro_recall": "mean recall of the classes",
    R_SQUARED: "R²",
}


SOURCE_WORDS: Final = {
    "outcome": ("an outcome", "outcomes"),
    "review": ("a reviewer", "reviewers"),
    "person": ("a person who was asked", "people"),
    "program": ("a program", "programs"),
    "import": ("a file", "files"),
}
"""Whose word a label is, for people: of one label, and of many."""


def word_words(source: str | None, *, conflict: bool) -> str:
    """Whose word a verdict is, and whether it was contradicted."""
    told = f"the word of {SOURCE_WORDS.get(source or '', ('nobody',))[0]}"
    return f"{told}; others said otherwise" if conflict else told


def label_words(sources: Mapping[str, int], conflicts: int) -> str:
    """Whose word the labels are that a model learnt from, where there are several: `, 80 of people and 40 of files`."""
    told = [f"{count:,} of {SOURCE_WORDS[name][1]}" for name, count in sources.items() if name in SOURCE_WORDS]
    text = f", {' and '.join([', '.join(told[:-1]), told[-1]])}" if len(told) > 1 else ""
    if conflicts:
        text += f" ({conflicts:,} of them contradicted)"
    return text


def budget_words(found: BudgetStatus) -> str:
    """What was spent, of what may be."""
    of = "" if found.total is None else f" of {found.total:,}"
    what = "cases asked" if found.unit is None else f"{found.unit} spent on cases"
    text = f"{found.in_all:,}{of} {what} in all; {found.tile} of {found.tile_budget} cases in the last tile"
    if found.tile_cost is not None:
        text += f" for {found.tile_cost:,} {found.unit}"
    if found.per_hour is not None:
        text += f", {found.in_hour or 0:,} of {found.per_hour:,} in its hour"
    if found.per_day is not None:
        text += f", {found.in_day or 0:,} of {found.per_day:,} on its day"
    return text


def quality_words(found: QualityStatus) -> str:
    """The headline in words."""
    measure = _MEASURES.get(found.metric, found.metric)
    of = f" of {found.of_class}" if found.metric == "average_precision" and found.of_class else ""
    more = f"about {found.more:,} more random answers tell" if found.more else ""
    if found.value is None:
        so_far = f"{found.n:,} random answers so far" if found.n else "no random answer yet"
        return f"{measure}{of}: cannot be told yet, {so_far}; {more}"
    interval = "" if found.low is None or found.high is None else f" (95 %: {found.low:.2f} to {found.high:.2f})"
    text = f"{measure}{of} {found.value:.2f}{interval} on {found.n:,} random answers it had not learnt from"
    if found.rmse is not None and found.mae is not None:
        unit = f" {found.unit}" if found.unit else ""
        text += f", off by {figure(found.mae)}{unit} on average (RMSE {figure(found.rmse)}{unit})"
    if found.way == "forward validation":
        text += ", the newest, as older ones no longer tell"
    if found.chance is not None:
        text += f"; a guess reaches {found.chance:.2g}"
    return f"{text}; {more}" if more else text


def alert_words(found: AlertsStatus) -> str:
    """From which probability on to flag, and what that makes, in words."""
    share = f"{100 * found.recall:.3g} % of {found.of_class}"
    if found.threshold is None:
        return (
            f"no threshold is known to find {share} yet; about {found.more_positives:,} more random answers of it tell"
        )
    text = f"flag from {probability(found.threshold)} on, which finds at least {share} (95 % sure)"
    if found.alerts_per_day is None or found.alerts_low is None or found.alerts_high is None:
        return text
    text += f"; about {found.alerts_per_day:,.0f} alerts a day ({found.alerts_low:,.0f} to {found.alerts_high:,.0f})"
    if found.fits is not None and found.most_per_day is not None:
        text += f", {'within' if found.fits else 'perhaps more than'} the {found.most_per_day:,.0f} that people can see"
    return text


def decision_words(found: Sequence[DecisionsStatus]) -> str:
    """What the rules decided on the latest day, in words; "" where there is none."""
    if not found:
        return ""
    told = []
    for each in found:
        budget = "" if each.per_day is None else f" of {each.per_day:,}"
        counts = {
            "abstained from": each.abstain,
            "suppressed": each.suppressed,
            "over budget": each.over_budget,
        }
        more = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        told.append(f"{each.rule} {each.alert:,}{budget}{f' ({more})' if more else ''}")
    return f"alerts on {found[0].day}: {'; '.join(told)}"


def gain_words(found: QualityStatus) -> str:
    """What a hundred more labels would bring, in words; "" where that can't be told."""
    if found.next_hundred is None or found.next_hundred_most is None:
        return ""
    about, most = found.next_hundred, found.next_hundred_most
    if found.metric == R_SQUARED:
        told, bound, least = f"R² up by about {about:.3f}", f"{most:.3f}", "0.005"
    else:
        told, bound, least = f"about {100 * about:.1f} points", f"{100 * most:.1f}", "half a point"
    if found.enough:
        return f"enough: a hundred more labels bring {told}, less than {least} in any case"
    return f"a hundred more bring {told}, at most {bound}"


def labeling_words(found: LabelingStatus) -> str:
    """The labeling service in words."""
    if not found.reachable:
        return "is not reached"
    if found.problem:
        return f"runs at {found.address}; see below"
    waiting = found.waiting_random + found.waiting_active
    text = f"{waiting:,} cases wait ({found.waiting_random:,} random), {found.leased:,} are being answered"
    if found.overdue:
        text += f", {found.overdue:,} are overdue"
    if found.unpublished:
        text += f", {found.unpublished:,} answers on their way to Kafka"
    return text


def rate_words(per_second: float) -> str:
    """How many a second, with a decimal where there are few."""
    return f"{per_second:,.0f}" if per_second >= 10 or not per_second else f"{per_second:.1f}"


def seconds_words(value: float) -> str:
    """A length of time in words."""
    if value < 1:
        return f"{1_000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.1f} h"
