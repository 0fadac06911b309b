"""A flow's steps and streams as a picture: SVG, drawn when the site is built, so that no page fetches anything.

Layers as in Sugiyama, Tagawa and Toda 1981: a step stands below all that it reads from, the steps of a layer are
ordered by the mean place of their neighbours, and a stream that passes a layer has a place of its own in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from bytewax.dataflow import Dataflow
from bytewax.visualize import RenderedOperator, to_rendered

_LETTER: Final = 7.6
_HEIGHT, _GAP, _ROOM, _EDGE, _MARGIN = 44.0, 22.0, 46.0, 22.0, 8.0
_SWEEPS: Final = 24
Node = str
"""Id of a step, or `FROM>TO>LAYER` where a stream passes a layer."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """From which step to which."""

    source: str
    target: str


def picture(flow: Dataflow) -> str:
    """The flow as an SVG element that takes its colours from the page.

    Args:
        flow: built, not run.

    Returns:
        SVG of one line: in Markdown an empty line would end it.

    """
    steps = {step.step_id: step for step in to_rendered(flow).substeps}
    streams = _streams(list(steps.values()))
    layers, chains = _layers(steps, streams)
    _order(layers, chains)
    widths = {node: _width(steps[node]) if node in steps else _EDGE for layer in layers for node in layer}
    total = max(sum(widths[node] for node in layer) + _GAP * (len(layer) - 1) for layer in layers)
    places: dict[Node, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        x = _MARGIN + (total - sum(widths[node] for node in layer) - _GAP * (len(layer) - 1)) / 2
        for node in layer:
            places[node] = x + widths[node] / 2, _MARGIN + row * (_HEIGHT + _ROOM)
            x += widths[node] + _GAP
    height = 2 * _MARGIN + len(layers) * (_HEIGHT + _ROOM) - _ROOM
    lines = [_line(chain, places) for chain in chains]
    boxes = [_box(step, *places[node], widths[node]) for node, step in steps.items()]
    name = escape(flow.flow_id, quote=True)
    return (
        f'<svg class="flow" role="img" aria-label="The steps of the flow {name}" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {total + 2 * _MARGIN:.0f} {height:.0f}" width="{total + 2 * _MARGIN:.0f}">'
        + "".join([*lines, *boxes])
        + "</svg>"
    )


def _streams(steps: list[RenderedOperator]) -> list[_Stream]:
    step_of_port = {port.port_id: step.step_id for step in steps for port in step.out_ports}
    return [
        _Stream(step_of_port[origin], step.step_id)
        for step in steps
        for port in step.inp_ports
        for origin in port.from_port_ids
    ]


def _layers(steps: dict[str, RenderedOperator], streams: list[_Stream]) -> tuple[list[list[Node]], list[list[Node]]]:
    """The nodes of each layer from above, and those that each stream passes."""
    depth: dict[str, int] = {}
    for step in steps:  # Bytewax gives them in the order in which they were built: a step comes after what it reads
        depth[step] = max((depth[s.source] + 1 for s in streams if s.target == step), default=0)
    layers: list[list[Node]] = [[] for _ in range(max(depth.values()) + 1)]
    for step, layer in depth.items():
        layers[layer].append(step)
    chains = []
    for source, target in dict.fromkeys((stream.source, stream.target) for stream in streams):
        passed = [f"{source}>{target}>{layer}" for layer in range(depth[source] + 1, depth[target])]
        for layer, node in enumerate(passed, depth[source] + 1):
            layers[layer].append(node)
        chains.append([source, *passed, target])
    return layers, chains


def _order(layers: list[list[Node]], chains: list[list[Node]]) -> None:
    """Order the nodes of each layer so that few streams cross."""
    above: dict[Node, list[Node]] = defaultdict(list)
    below: dict[Node, list[Node]] = defaultdict(list)
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for layer in layers[1:] if down else layers[-2::-1]:
            at = {node: (place + 0.5) / len(each) for each in layers for place, node in enumerate(each)}
            layer.sort(key=lambda node: sum(at[n] for n in near[node]) / len(near[node]) if near[node] else at[node])


def _width(step: RenderedOperator) -> float:
    return max(len(step.step_name), len(step.op_type) * 0.85) * _LETTER + 28


def _box(step: RenderedOperator, x: float, y: float, width: float) -> str:
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT:.0f}" rx="6"/>'
        f'<text x="{x:.1f}" y="{y + 19:.1f}">{escape(step.step_name)}</text>'
        f'<text class="kind" x="{x:.1f}" y="{y + 34:.1f}">{escape(step.op_type)}</text>'
    )


def _line(chain: list[Node], places: dict[Node, tuple[float, float]]) -> str:
    """A curve from the lower side of a step to the upper side of another, through the places between."""
    (x, y), *rest = (places[node] for node in chain)
    y += _HEIGHT
    path = [f"M{x:.1f} {y:.1f}"]
    for place, (to_x, to_y) in enumerate(rest, 1):
        bend = (to_y - y) / 2
        path.append(f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}")
        if place < len(rest):
            path.append(f"V{to_y + _HEIGHT:.1f}")
        x, y = to_x, to_y + _HEIGHT
    head = f"M{x - 4:.1f} {y - _HEIGHT - 6:.1f}L{x:.1f} {y - _HEIGHT:.1f}L{x + 4:.1f} {y - _HEIGHT - 6:.1f}"
    return f'<path d="{"".join(path)}{head}"/>'
