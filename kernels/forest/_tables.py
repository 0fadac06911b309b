"""A forest as tables of bit masks: the fast way for batches and trees of up to 64 leaves.

After QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees"), with its comparisons made beforehand. A feature's values fall into few classes that no split of
the forest tells apart (between two neighbouring thresholds, zero, NaN, one category): its code. For each tree and
each feature it uses, a table gives for each code the leaves that can still be reached, one bit each. The leaf of a
row is the one bit left in the conjunction of its masks: a dozen independent look-ups, where walking down a tree is a
chain of as many dependent ones with a branch that can't be predicted. Missing values and categories cost nothing
extra.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.forest._nodes import ZERO, Nodes
from kernels.forest.model_text import ForestModel
from kernels.numerics._jit import kernel, lean

MAX_LEAVES: Final = 64
MAX_BYTES: Final = 256 * 1024 * 1024
"""Above this the tables are not made: they would take longer to read than the trees to walk."""

_MAX_CODES = 65_536  # uint16

BLOCK: Final = 4096
_TILE = 64

_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)


class Tables(NamedTuple):
    """Columns are the (feature, numerical or categorical) that some split uses; see the module.

    feature (c,), categorical (c,), cut_start (c + 1,), cuts: thresholds of each column, rising; zero (c,): whether zero
    has a code of its own; codes (c,): number of codes. pair_start (trees + 1,): tree t has the pairs pair_start[t] :
    pair_start[t + 1], each a column and where its table begins in ``masks``. full (trees,): all leaves of a tree.
    values (trees * 64,): leaf values, and leaves (trees * 64,): leaf numbers, in the order of the de Bruijn hash.
    """

    feature: NDArray[np.int32]
    categorical: NDArray[np.uint8]
    cut_start: NDArray[np.int64]
    cuts: NDArray[np.float64]
    zero: NDArray[np.uint8]
    codes: NDArray[np.int64]
    pair_start: NDArray[np.int64]
    pair_column: NDArray[np.int64]
    pair_table: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    full: NDArray[np.uint64]
    values: NDArray[np.float64]
    leaves: NDArray[np.int32]


@lean
def _code_goes_left(code: int, codes: int, node: int, rank: int, nodes: Nodes) -> bool:
    """The decision at a node for all values of one code: rank is that of the node's threshold among the cuts."""
    kind = nodes.decision_type[node]
    if kind & 1:
        word = nodes.set_start[nodes.node_set[node]] + code // 32
        if code == codes - 1 or word >= nodes.set_start[nodes.node_set[node] + 1]:
            return False
        return bool((nodes.words[word] >> np.uint32(code % 32)) & np.uint32(1))
    missing = kind >> 2
    absent = code == codes - 1
    zero = code == codes - 2 or (absent and missing != 2)
    if (missing == 2 and absent) or (missing == 1 and zero):
        return bool(kind & 2)
    if zero:
        return bool(nodes.threshold[node] >= 0.0)
    return code <= rank


@kernel
def _fill(column: NDArray[np.int64], rank: NDArray[np.int64], nodes: Nodes, tables: Tables) -> None:
    """Fill ``masks``: for each node and code, strike out the leaves on the side not taken."""
    below = np.zeros((MAX_LEAVES, 2), np.uint64)
    for t in range(nodes.node_start.shape[0] - 1):
        first = nodes.node_start[t]
        for n in range(nodes.node_start[t + 1] - first - 1, -1, -1):
            for side in range(2):
                child = nodes.left[first + n] if side == 0 else nodes.right[first + n]
                if child < 0:
                    below[n, side] = np.uint64(1) << np.uint64(~child)
                else:
                    below[n, side] = below[child, 0] | below[child, 1]
        for n in range(nodes.node_start[t + 1] - first):
            node = first + n
            pair = tables.pair_start[t]
            while tables.pair_column[pair] != column[node]:
                pair += 1
            base = np.int64(tables.pair_table[pair])
            codes = tables.codes[column[node]]
            for code in range(codes):
                goes_left = _code_goes_left(code, codes, node, rank[node], nodes)
                tables.masks[base + code] &= ~below[n, 1 if goes_left else 0]


def build(model: ForestModel, nodes: Nodes) -> Tables | None:
    """Make the tables of a forest, or None where a tree has over 64 leaves or they would be too large."""
    leaf_counts = np.diff(model.leaf_start)
    if leaf_counts.max(initial=1) > MAX_LEAVES:
        return None
    tree = np.repeat(np.arange(model.trees), np.diff(model.node_start))
    categorical = (model.decision_type & 1).astype(np.int64)
    keys, column = np.unique(model.split_feature.astype(np.int64) * 2 + categorical, return_inverse=True)
    set_words = np.diff(model.set_start)
    cuts, codes, rank = [], [], np.zeros(len(column), np.int64)
    for c, key in enumerate(keys):
        used = np.flatnonzero(column == c)
        if key & 1:
            cuts.append(np.zeros(0))
            codes.append(int(set_words[nodes.node_set[used]].max()) * 32 + 1)
        else:
            levels, rank[used] = np.unique(model.threshold[used], return_inverse=True)
            cuts.append(levels)
            codes.append(len(levels) + 3)
    pairs = np.unique(tree * len(keys) + column)
    pair_column = pairs % max(1, len(keys))
    counts = np.array(codes, np.int64)
    sizes = counts[pair_column]
    if int(sizes.sum()) * 8 > MAX_BYTES or counts.max(initial=0) > _MAX_CODES:
        return None
    full = np.array([(1 << int(n)) - 1 for n in leaf_counts], np.uint64)
    slots = ((np.uint64(1) << np.arange(64, dtype=np.uint64)) * _DE_BRUIJN >> _SHIFT).astype(np.int64)
    leaf_tree = np.repeat(np.arange(model.trees), leaf_counts)
    leaf = np.arange(len(leaf_tree)) - model.leaf_start[leaf_tree]
    place = leaf_tree * 64 + slots[leaf]
    values, leaves = np.zeros(model.trees * 64), np.zeros(model.trees * 64, np.int32)
    values[place], leaves[place] = model.leaf_value, leaf
    missing_zero = np.unique(column[(categorical == 0) & (model.decision_type >> 2 == 1)])
    tables = Tables(
        feature=(keys // 2).astype(np.int32),
        categorical=(keys & 1).astype(np.uint8),
        cut_start=np.concatenate([[0], np.cumsum([len(levels) for levels in cuts])]).astype(np.int64),
        cuts=np.concatenate([np.zeros(0), *cuts]),
        zero=np.isin(np.arange(len(keys)), missing_zero).astype(np.uint8),
        codes=counts,
        pair_start=np.searchsorted(pairs, np.arange(model.trees + 1) * len(keys)).astype(np.int64),
        pair_column=pair_column.astype(np.int64),
        pair_table=(np.cumsum(sizes) - sizes).astype(np.uint64),
        masks=np.repeat(full[pairs // max(1, len(keys))], sizes),
        full=full,
        values=values,
        leaves=leaves,
    )
    _fill(column.astype(np.int64), rank, nodes, tables)
    return tables


@lean
def _encode_categories(x: NDArray[Any], feature: int, count: int, codes: NDArray[np.uint16]) -> None:
    for i in range(x.shape[0]):
        v = np.float64(x[i, feature])
        known = v > -1.0 and v < np.float64(count - 1)  # false for NaN
        codes[i] = np.uint16(np.int64(v)) if known else np.uint16(count - 1)


@kernel
def _encode_numbers(
    x: NDArray[Any], feature: int, count: int, own_zero: int, cuts: NDArray[np.float64], codes: NDArray[np.uint16]
) -> None:
    """The number of cuts below each value, by a binary search of all rows in step: no branch depends on a value."""
    value = np.empty(_TILE, np.float64)
    low = np.empty(_TILE, np.uint64)
    rows = x.shape[0]
    for i in range(rows):
        v = np.float64(x[i, feature])
        value[i] = 0.0 if abs(v) <= ZERO else v
        low[i] = np.uint64(0)
    rest = cuts.shape[0]
    while rest > 1:
        half = np.uint64(rest >> 1)
        probe = half - np.uint64(1)
        for i in range(rows):
            low[i] += half if cuts[low[i] + probe] < value[i] else np.uint64(0)
        rest -= rest >> 1
    for i in range(rows):
        v = value[i]
        code = np.int64(low[i]) + np.int64(cuts[low[i]] < v)
        if own_zero and v == 0.0:
            code = np.int64(count - 2)
        if v != v:  # noqa: PLR0124  (NaN)
            code = np.int64(count - 1)
        codes[i] = np.uint16(code)


@lean
def _encode(x: NDArray[Any], tables: Tables, codes: NDArray[np.uint16]) -> None:
    """Codes of rows by column: codes[column, row]."""
    for tile in range(0, x.shape[0], _TILE):
        end = min(tile + _TILE, x.shape[0])
        for c in range(tables.feature.shape[0]):
            feature, count = tables.feature[c], tables.codes[c]
            if tables.categorical[c]:
                _encode_categories(x[tile:end], feature, count, codes[c, tile:end])
            else:
                cuts = tables.cuts[tables.cut_start[c] : tables.cut_start[c + 1]]
                _encode_numbers(x[tile:end], feature, count, tables.zero[c], cuts, codes[c, tile:end])


@lean
def _reach(t: int, rows: int, codes: NDArray[np.uint16], tables: Tables, reached: NDArray[np.uint64]) -> None:
    """Masks of the leaf of each row in tree t, four columns at a time."""
    masks = tables.masks
    pair = tables.pair_start[t]
    stop = tables.pair_start[t + 1]
    full = tables.full[t]
    for i in range(rows):
        reached[i] = full
    while pair + 4 <= stop:
        a, b, c, d = (
            codes[tables.pair_column[pair]],
            codes[tables.pair_column[pair + 1]],
            codes[tables.pair_column[pair + 2]],
            codes[tables.pair_column[pair + 3]],
        )
        ta, tb, tc, td = (
            tables.pair_table[pair],
            tables.pair_table[pair + 1],
            tables.pair_table[pair + 2],
            tables.pair_table[pair + 3],
        )
        for i in range(rows):
            reached[i] &= masks[ta + a[i]] & masks[tb + b[i]] & masks[tc + c[i]] & masks[td + d[i]]
        pair += 4
    while pair < stop:
        a, ta = codes[tables.pair_column[pair]], tables.pair_table[pair]
        for i in range(rows):
            reached[i] &= masks[ta + a[i]]
        pair += 1


@kernel
def add_up(x: NDArray[Any], outputs: int, ends: NDArray[np.int64], tables: Tables, out: NDArray[np.float64]) -> None:
    """Sums of leaf values: out[e, i, k], of row i and output k over the first ends[e] iterations (ends rise)."""
    block = min(BLOCK, x.shape[0])
    codes = np.empty((tables.feature.shape[0], block), np.uint16)
    reached = np.empty(block, np.uint64)
    sums = np.empty((outputs, block), np.float64)
    for start in range(0, x.shape[0], BLOCK):
        stop = min(start + BLOCK, x.shape[0])
        rows = stop - start
        _encode(x[start:stop], tables, codes)
        sums[:] = 0.0
        done = 0
        for e in range(ends.shape[0]):
            for t in range(done * outputs, ends[e] * outputs):
                _reach(t, rows, codes, tables, reached)
                total = sums[t % outputs]
                base = np.uint64(t * 64)
                for i in range(rows):
                    total[i] += tables.values[base + ((reached[i] * _DE_BRUIJN) >> _SHIFT)]
            done = ends[e]
            for i in range(rows):
                for k in range(outputs):
                    out[e, start + i, k] = sums[k, i]


@kernel
def find_leaves(x: NDArray[Any], tables: Tables, out: NDArray[np.int32]) -> None:
    """Leaf numbers: out[i, t], of row i in tree t."""
    block = min(BLOCK, x.shape[0])
    codes = np.empty((tables.feature.shape[0], block), np.uint16)
    reached = np.empty(block, np.uint64)
    for start in range(0, x.shape[0], BLOCK):
        stop = min(start + BLOCK, x.shape[0])
        _encode(x[start:stop], tables, codes)
        for t in range(tables.full.shape[0]):
            _reach(t, stop - start, codes, tables, reached)
            for i in range(start, stop):
                out[i, t] = tables.leaves[np.uint64(t * 64) + ((reached[i - start] * _DE_BRUIJN) >> _SHIFT)]
