"""What an edit of the pipeline file costs, before it is deployed: compared with what the flows last ran with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline, format_duration
from tidemark.pipeline.numbers import from_to
from tidemark.records import ModelManifest
from tidemark.registry.deployed import Deployed
from tidemark.registry.schema import ModelSchema

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Edit:
    """Differences of two pipeline files: features by name, a renamed one with both its names."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    renamed: dict[str, str]
    new_classes: list[str]
    old_classes: list[str]
    further: dict[str, tuple[int, int]]
    order: tuple[list[str], list[str]] | None = None
    """Classes that stay, as they were ordered and as they are, where that differs."""
    label: list[str] = field(default_factory=list)
    """What has changed about a label that is or was a number, in sentences."""

    @classmethod
    def of(cls, before: Deployed, after: Deployed) -> Edit:
        """What has changed from `before` to `after`."""
        was, now = before.features, after.features
        gone = {each.id: name for name, each in was.items() if name not in now}
        renamed = {gone[each.id]: name for name, each in now.items() if name not in was and each.id in gone}
        return cls(
            added=[name for name in now if name not in was and name not in renamed.values()],
            changed=[name for name, each in now.items() if name in was and was[name].id != each.id],
            removed=[name for name in was if name not in now and name not in renamed],
            renamed=renamed,
            new_classes=[name for name in after.classes if name not in before.classes],
            old_classes=[name for name in before.classes if name not in after.classes],
            further={
                key: (before.reach.get(key, 0), reach)
                for key, reach in after.reach.items()
                if reach > before.reach.get(key, 0)
            },
            order=_order(before.classes, after.classes),
            label=list(_label(before, after)),
        )

    def __bool__(self) -> bool:
        """Whether anything has changed that features, labels or models are concerned with."""
        return any(
            (
                *(self.added, self.changed, self.removed, self.renamed),
                *(self.new_classes, self.old_classes, self.order, self.further, self.label),
            )
        )


def sentences(pipeline: Pipeline, before: Deployed, champion: ModelManifest | None, labels: int) -> Iterator[str]:
    """What deploying a pipeline file costs, one sentence a line; the first says whether it differs at all.

    Args:
        pipeline: the file.
        before: what runs.
        champion: manifest of the champion.
        labels: records in `P.labels`.

    """
    after = Deployed.of(pipeline)
    edit = Edit.of(before, after)
    if not edit:
        yield "no feature, window or class differs from what the flows ran with last"
        return
    yield "this file differs from what the flows ran with last:"
    source = f"from {', '.join(pipeline.raw_topics)} as far back as it reaches, and missing in older ones"
    for name in edit.added:
        yield f"added    {name} ({_short(after, name)}): recomputed for labeled events {source}"
    for name in edit.changed:
        was, now = _short(before, name), _short(after, name)
        what = f"was {was}, is {now}" if was != now else f"{now}: what it is made of has changed"
        yield f"changed  {name} ({what}): its old values are not used; recomputed for labeled events {source}"
    for old, new in edit.renamed.items():
        yield f"renamed  {old} to {new}: its values stay"
    for name in edit.removed:
        yield f"removed  {name} ({_short(before, name)}): its values stay in {pipeline.topics.labels}, unused"
    yield from _answers(edit)
    for key, (was_reach, reach) in edit.further.items():
        yield (
            f"windows  by {key} reach back {format_duration(reach)} instead of {format_duration(was_reach)}: "
            "stream reads its topics again from their beginning before it goes on"
        )
    yield f"labels   all stay ({labels:,} records in {pipeline.topics.labels}); answers of cases that wait count too"
    if champion is not None:
        yield _champion(pipeline, champion)


def _answers(edit: Edit) -> Iterator[str]:
    for name in edit.new_classes:
        yield f"class    {name} is new: a champion that has not seen it gives it the probability 0"
    for name in edit.old_classes:
        yield f"class    {name} is gone: its answers count no more"
    if edit.order is not None:
        was, now = (", ".join(names) for names in edit.order)
        yield (
            f"classes  go {now}, where they went {was}: what was predicted and measured before is in the old order, "
            "and monitor reads it in the new one"
        )
    for sentence in edit.label:
        yield f"label    {sentence}"


def _order(before: list[str], after: list[str]) -> tuple[list[str], list[str]] | None:
    was = [name for name in before if name in after]
    now = [name for name in after if name in before]
    return None if was == now else (was, now)


def _label(before: Deployed, after: Deployed) -> Iterator[str]:
    was, now = before.number, after.number
    if was is None or now is None:
        if was != now and (was is not None or before.classes):  # else it was recorded before numbers were
            kinds = ("a number", "a class") if now is None else ("a class", "a number")
            yield f"was {kinds[0]}, is {kinds[1]}: answers of before count no more, and the champion goes out of force"
        return
    if was.unit != now.unit:
        units = " and is ".join(f"'{each.unit}'" if each.unit else "without a unit" for each in (was, now))
        yield (
            f"was {units}: answers of before are not converted, and count as if they were given in the new unit. Where "
            "the numbers mean something else now, give the pipeline another name"
        )
    if now.least > was.least or now.greatest < was.greatest:
        yield (
            f"goes {from_to(now.least, now.greatest)}, where it went {from_to(was.least, was.greatest)}: answers "
            "beyond count no more"
        )
    elif (now.least, now.greatest) != (was.least, was.greatest):
        yield f"goes {from_to(now.least, now.greatest)}, where it went {from_to(was.least, was.greatest)}"


def _champion(pipeline: Pipeline, champion: ModelManifest) -> str:
    schema = ModelSchema.of(pipeline)
    try:
        schema.columns(champion)
        schema.places(champion)
    except ModelError as error:
        return f"champion {champion.version} goes out of force: {error}, at once when retrain starts with this file"
    return f"champion {champion.version} goes on until a challenger that knows the new features beats it"


def _short(deployed: Deployed, name: str) -> str:
    text = " ".join(deployed.features[name].text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
