"""The naive oracle of selection's tiles."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.labels.proposal_streams import Record
from tidemark.pipeline.model import Pipeline


@dataclass
class Tile:
    events: list[tuple[int, str]] = field(default_factory=list)


def closed_tiles(pipe: Pipeline, log: list[Record]) -> dict[int, Tile]:
    """Every event of every tile that closes, from all events and not from what was proposed of them."""
    watermark: dict[int, int | None] = dict.fromkeys(range(pipe.partitions))
    idle = dict.fromkeys(range(pipe.partitions), False)
    open_tiles: dict[int, Tile] = defaultdict(Tile)
    closed: dict[int, Tile] = {}
    first_open = -(10**18)
    for record in log:
        for tile, coin, event in zip(record.tile.tolist(), record.coin.tolist(), record.event_id, strict=True):
            open_tiles[max(tile, first_open)].events.append((coin, event))
        watermark[record.lane], idle[record.lane] = record.watermark, not record.event_id
        waited = [watermark[lane] for lane in idle if not idle[lane]]
        known = [time for time in waited if time is not None]
        if not waited:
            passed = max((time for time in watermark.values() if time is not None), default=None)
        else:
            passed = min(known) if len(known) == len(waited) else None
        if passed is not None:
            first_open = max(first_open, passed // pipe.selection.tile)
        for tile in sorted(open_tiles):
            if tile < first_open:
                closed[tile] = open_tiles.pop(tile)
    return closed
