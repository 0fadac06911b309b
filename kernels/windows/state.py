"""Windowed aggregates per key, as of each event, over any number of sizes in one pass.

The feature of row ``e`` (time ``t``, key ``k``) over a window of size ``s`` aggregates the earlier rows of key ``k``
whose event time lies in ``(max(t, W - lateness) - s, t]``. Earlier means at a lower position of the log; ``W``, the
watermark, is the highest event time of all earlier rows of any key, or of what each is ``bounded`` to. With
``include_current`` the row itself counts as one of them. Rows may come out of order; a row later than the lateness
sees only what the clipped window leaves.

A result depends on nothing but the window's contents: it is recomputed from them in a fixed order (event time, equal
times in log order) and never by adding and subtracting as rows come and go. So a replay that starts, with the
watermark of that position, at or before the oldest row still relevant gives the same bits.

A window may be cut further, to its newest rows or to a session (``WindowSpec``), by its rows alone.

Windows over sketches (``_sketches.py``) keep that promise too: ranks and counts that no order changes.

Rows at or before the horizon (``W - largest size - lateness``) can enter no future window and are dropped; a key whose
rows are all dropped is forgotten. When the arena or the key table is full, what is still relevant goes into a new one
that has room for half as much again (``_growth.py``), so memory follows the rows that are still relevant.
"""

import struct
from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, integer
from kernels.numerics._jit import lean
from kernels.sampling.hashing import hash64
from kernels.windows._exact import Exact
from kernels.windows._part import Part
from kernels.windows._sketches import Distinct, Quantiles
from kernels.windows._store import NO_WATERMARK, Rows
from kernels.windows._whole import Whole
from kernels.windows.custom import Custom
from kernels.windows.specs import (
    AGGREGATES,
    DISTINCT_ERROR,
    KINDS,
    QUANTILE_ERROR,
    SIZE_LIMIT,
    TIME_LIMIT,
    Aggregate,
    WindowSpec,
    checked_specs,
)

__all__ = ["NO_WATERMARK", "TIME_LIMIT", "Aggregate", "WindowSpec", "WindowState"]

_MAGIC: Final = b"TMWIN03\n"
_HEADER: Final = struct.Struct("<8sIIqq")
_MAGIC_CUT: Final = b"TMWIN04\n"
"""Of a state with windows that are cut to rows or to a gap; the others keep their bytes."""
_SPEC: Final = struct.Struct("<B?iqdd")
_SPEC_CUT: Final = struct.Struct("<B?iqddqq")
_LENGTHS: Final = struct.Struct("<QQ")
_NUMBERS: Final[dict[str, int]] = {name: number for number, name in enumerate(AGGREGATES)}
_CHECKSUM: Final = struct.Struct("<Q")


@lean
def _first_beyond(times: NDArray[np.int64]) -> int:
    """The first row whose time is out of range, or the number of rows."""
    row = 0
    while row < times.shape[0] and -TIME_LIMIT <= times[row] <= TIME_LIMIT:
        row += 1
    return row


def _parts(specs: Sequence[WindowSpec], lateness: int) -> tuple[list[Part], list[WindowSpec]]:
    """What computes different specs, and the specs in the order of the columns that it writes."""
    custom = [spec for spec in specs if spec.function is not None]
    specs = [spec for spec in specs if spec.function is None]
    whole = [spec for spec in specs if spec.whole]
    exact = [spec for spec in specs if not spec.whole and not spec.aggregate.startswith("approx")]
    order = list(exact)
    parts: list[Part] = [Exact(exact, lateness)] if exact else []
    empty = {str(name): kind.empty for name, kind in KINDS.items()}
    for own in ([spec for spec in whole if spec.rows], [spec for spec in whole if not spec.rows]):
        if own:
            parts.append(Whole(own, lateness, len(order), [empty[spec.aggregate] for spec in own]))
            order += own
    distinct: dict[tuple[int, float], dict[tuple[int, bool], int]] = {}
    quantiles: dict[tuple[int, float, int], dict[tuple[float, bool], int]] = {}
    for spec in specs:
        if spec.aggregate == "approx_distinct":
            name = spec.column, spec.error or DISTINCT_ERROR
            distinct.setdefault(name, {})[spec.size, spec.include_current] = len(order)
            order.append(spec)
        elif spec.aggregate == "approx_quantile":
            place = spec.column, spec.error or QUANTILE_ERROR, spec.size
            quantiles.setdefault(place, {})[spec.parameter, spec.include_current] = len(order)
            order.append(spec)
    if custom:
        parts.append(Custom(custom, lateness, len(order)))
        order += custom
    parts += [Distinct(*name, lateness, features) for name, features in distinct.items()]
    parts += [Quantiles(*place, lateness, features) for place, features in quantiles.items()]
    return parts, order


class WindowState:
    """The rows still inside a window, for every key, and the features of each new row.

    specs: the features.  n_columns: number of columns of the values given to ``update``; only those that a spec
    names are kept.  lateness: µs by which a row may lie behind the watermark and still see a whole window.

    Raises ValueError where a spec does not fit.
    """

    def __init__(self, specs: Sequence[WindowSpec], n_columns: int, lateness: int) -> None:
        self._n_columns = integer("n_columns", n_columns, 0, 2**20)
        self._specs = checked_specs(specs, self._n_columns)
        self._lateness = integer("lateness", lateness, 0, SIZE_LIMIT)
        self._parts, order = _parts(tuple(dict.fromkeys(self._specs)), self._lateness)
        self._width = len(order)
        columns = [order.index(spec) for spec in self._specs]
        self._columns = None if columns == list(range(self._width)) else columns

    @classmethod
    def with_watermark(cls, specs: Sequence[WindowSpec], n_columns: int, lateness: int, watermark: int) -> Self:
        """An empty state for a replay: ``watermark`` is the one that held before its first row."""
        state = cls(specs, n_columns, lateness)
        state.watermark = watermark
        return state

    @property
    def specs(self) -> tuple[WindowSpec, ...]:
        """The features, in the order of the columns that ``update`` returns."""
        return self._specs

    @property
    def watermark(self) -> int:
        """How far event time has come, µs; ``NO_WATERMARK`` before the first row. May be set, but not back."""
        return self._parts[0].watermark

    @watermark.setter
    def watermark(self, value: int) -> None:
        if value != NO_WATERMARK:
            integer("watermark", value, -TIME_LIMIT, TIME_LIMIT)
        if value < self.watermark:
            raise ValueError(f"watermark: {value} lies before {self.watermark}, which this state has seen")
        for part in self._parts:
            part.watermark = value

    @property
    def n_keys(self) -> int:
        """Keys in the largest table; idle ones are forgotten when it is next rebuilt."""
        return max(part.n_keys for part in self._parts)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(part.nbytes for part in self._parts)

    def horizon(self) -> int:
        """Event time, µs, at or before which no row can enter a future window; ``NO_WATERMARK`` before any row."""
        reach = max(part.reach for part in self._parts)
        return NO_WATERMARK if self.watermark == NO_WATERMARK else self.watermark - reach

    def update(
        self,
        keys: NDArray[np.uint64],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        bounded: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Add rows in log order and return the features of each.

        keys: (n,) uint64 hashes of keys.  times: (n,) int64 event times, µs.  values: (n, n_columns) float64; NaN is
        a missing value, skipped by every aggregate but ``count`` and ``since_last``.  bounded: (n,) int64, how far each
        row moves the watermark, at most to its own time; by default that far. A row whose clock runs ahead is kept by
        its time, and need not make all others late.

        Returns (n, len(specs)) float64. Of an empty window count, distinct, sum and decayed_sum are 0 and all others
        NaN. Raises ValueError, before any row is added, where an array does not fit.
        """
        checked_keys, checked_times, checked_values = self._checked(keys, times, values)
        n = checked_keys.shape[0]
        checked_bounded = checked_times if bounded is None else array("bounded", bounded, np.int64, (n,))
        if bounded is not None and np.any(checked_bounded > checked_times):
            row = int(np.argmax(checked_bounded > checked_times))
            raise ValueError(f"bounded[{row}]: {checked_bounded[row]} lies after the row's time {checked_times[row]}")
        out = np.empty((n, self._width))
        for part in self._parts:
            part.update(checked_keys, checked_times, checked_bounded, checked_values, out)
        return out if self._columns is None else out[:, self._columns]

    def peek(
        self, keys: NDArray[np.uint64], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the features that each row would have if it came now, alone; the state stays as it is, bit by bit.

        What ``update`` would give is given, for each row as if none of the others came before it. The rows of each
        key are copied, so a look costs as much as the key has rows.

        keys, times, values: as for ``update``.

        Returns (n, len(specs)) float64. Raises ValueError where an array does not fit.
        """
        checked_keys, checked_times, checked_values = self._checked(keys, times, values)
        out = np.empty((checked_keys.shape[0], self._width))
        for part in self._parts:
            part.peek(checked_keys, checked_times, checked_values, out)
        return out if self._columns is None else out[:, self._columns]

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which keys have a row that can still enter a window; the state stays as it is.

        keys: (n,) uint64.

        Returns (n,) bool. Raises ValueError where the array does not fit.
        """
        checked = array("keys", keys, np.uint64, (None,)).view(np.int64)
        held = np.zeros(checked.shape[0], np.bool_)
        for part in self._parts:
            part.holds(checked, held)
        return held

    def _checked(
        self, keys: NDArray[np.uint64], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        checked_keys = array("keys", keys, np.uint64, (None,)).view(np.int64)
        n = checked_keys.shape[0]
        checked_times = array("times", times, np.int64, (n,))
        checked_values = array("values", values, np.float64, (n, self._n_columns))
        row = _first_beyond(checked_times)
        if row < n:
            raise ValueError(f"times[{row}]: {checked_times[row]} µs lies beyond ±{TIME_LIMIT}")
        return checked_keys, checked_times, checked_values

    def to_bytes(self) -> bytes:
        """The rows still relevant as bytes: the same for the same rows, however they were reached."""
        if any(spec.function is not None for spec in self._specs):
            raise ValueError("specs: a function has no bytes; such a state is rebuilt from its rows")
        cut = any(spec.rows or spec.gap for spec in self._specs)
        magic = _MAGIC_CUT if cut else _MAGIC
        written = [_HEADER.pack(magic, self._n_columns, len(self._specs), self._lateness, self.watermark)]
        for s in self._specs:
            numbers = _NUMBERS[s.aggregate], s.include_current, s.column, s.size, s.parameter, s.error
            written.append(_SPEC_CUT.pack(*numbers, s.rows, s.gap) if cut else _SPEC.pack(*numbers))
        for part in self._parts:
            rows = part.rows()
            written.append(_LENGTHS.pack(rows.keys.shape[0], rows.times.shape[0]))
            written += [each.astype(each.dtype.newbyteorder("<")).tobytes() for each in rows]
        body = b"".join(written)
        return body + _CHECKSUM.pack(hash64(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that ``to_bytes`` wrote; raises ValueError where the bytes are not whole or of another format."""
        layout = {_MAGIC: _SPEC, _MAGIC_CUT: _SPEC_CUT}.get(bytes(data[: len(_MAGIC)]))
        if len(data) < _HEADER.size + _CHECKSUM.size or layout is None:
            raise ValueError(f"data: expected a window state that begins with {_MAGIC!r}, got {bytes(data[:8])!r}")
        body = data[: -_CHECKSUM.size]
        if hash64(body) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
            raise ValueError(f"data: the checksum of these {len(data)} bytes is wrong; the state is cut or damaged")
        _, n_columns, n_specs, lateness, watermark = _HEADER.unpack_from(body)
        specs = []
        position = _HEADER.size
        for _ in range(n_specs):
            kind, current, column, size, parameter, error, *cut = layout.unpack_from(body, position)
            rows, gap = cut or (0, 0)
            specs.append(WindowSpec(_aggregate(kind), column, size, current, parameter, error, rows=rows, gap=gap))
            position += layout.size
        state = cls.with_watermark(specs, n_columns, lateness, watermark)
        for part in state._parts:  # noqa: SLF001  (its own class)
            position = _load(part, watermark, body, position)
        if position != len(body):
            raise ValueError(f"data: expected {position} bytes before the checksum, got {len(body)}")
        return state


def _load(part: Part, watermark: int, body: bytes, position: int) -> int:
    """Give a part its rows; returns where the next part's begin."""
    n_keys, n_rows = _LENGTHS.unpack_from(body, position)
    n_columns, n_order = part.shape.columns, n_rows if part.shape.ordered else 0
    lengths = [n_keys, n_keys, n_rows, n_rows * n_columns, n_order]
    position += _LENGTHS.size
    end: int = position + 8 * sum(lengths)
    if end > len(body):
        raise ValueError(f"data: expected {end} bytes before the checksum, got {len(body)}")
    numbers = np.frombuffer(body, "<i8", sum(lengths), position).astype(np.int64)
    keys, counts, times, bits, order = np.split(numbers, np.cumsum(lengths[:-1]))
    part.load(Rows(keys, counts, times, bits.view(np.float64).reshape(n_columns, n_rows), order), watermark)
    return end


def _aggregate(kind: int) -> Aggregate:
    if kind >= len(AGGREGATES):
        raise ValueError(f"data: aggregate {kind} is unknown to this version")
    return AGGREGATES[kind]
