# ruff: noqa: ANN401, ARG001  (numba has no types of its own to say; an intrinsic is told of arguments by their names)
"""Four numbers that the processor handles at once, in an order that is the same on every machine.

LLVM turns loops into vectors only where the order of their sums doesn't matter, and never within a row of a few
columns. Here that order is written down: lane i of a vector takes in the elements i, i + 4, i + 8, ..., and the lanes
are added as (0 + 2) + (1 + 3). Where kernels run uncompiled, a vector is an array of four numbers.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model
from numpy.typing import NDArray

from kernels.numerics._jit import lean

WIDTH: Final = 4

Lanes = Any
"""Four float32, float64, uint32 or uint64: a vector register when compiled, else an array."""

_config: Any = numba.config
_any_types: Any = types
_INTEGER_OF: Final = {types.float32: types.uint32, types.float64: types.uint64}
_FLOATING_OF: Final = {word: floating for floating, word in _INTEGER_OF.items()}


class _LanesType(types.Type):
    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        element = dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, WIDTH))  # type: ignore[no-untyped-call]


def _number(n: int) -> ir.Constant:
    return ir.Constant(ir.IntType(32), n)


def _spread(builder: Any, vector: Any, order: list[int], other: Any = None) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), order)
    return builder.shuffle_vector(vector, vector if other is None else other, mask)


def _all(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    empty = ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined)
    return _spread(builder, builder.insert_element(empty, value, _number(0)), [0] * WIDTH)


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    element = context.get_value_type(array_type.dtype)
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(element, WIDTH).as_pointer())


def _size(context: Any, dtype: Any) -> int:
    return int(context.get_abi_sizeof(context.get_value_type(dtype)))


@intrinsic
def _load(_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.load(place, align=_size(context, array.dtype))

    return _LanesType(array.dtype)(array, types.intp), generate


@intrinsic
def _store(_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], place, align=_size(context, array.dtype))
        return context.get_dummy_value()

    return types.none(array, types.intp, lanes), generate


@intrinsic
def _every(_context: Any, value: Any) -> Any:
    return _LanesType(value)(value), lambda _context, builder, _signature, args: _all(builder, args[0])


def _chosen(sign: str) -> Any:
    """The one of two numbers that compares so, lane by lane; the second where one is NaN."""

    @intrinsic
    def compiled(_context: Any, a: Any, b: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            compare = builder.icmp_unsigned if isinstance(a.dtype, types.Integer) else builder.fcmp_ordered
            return builder.select(compare(sign, *args), *args)

        return a(a, b), generate

    return compiled


@intrinsic
def _last(_context: Any, lanes: Any, count: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        first = builder.sub(_number(WIDTH), builder.trunc(args[1], ir.IntType(32)))
        number = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), list(range(WIDTH)))
        kept = builder.icmp_signed(">=", number, _all(builder, first))
        return builder.select(kept, args[0], ir.Constant(args[0].type, None))

    return lanes(lanes, types.intp), generate


def _seen_as(dtypes: dict[Any, Any]) -> Any:
    @intrinsic
    def compiled(_context: Any, lanes: Any) -> Any:
        result = _LanesType(dtypes[lanes.dtype])

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(result))

        return result(lanes), generate

    return compiled


@intrinsic
def _transposed(_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        va, vb, vc, vd = args
        ab_low, ab_high = _spread(builder, va, [0, 4, 1, 5], vb), _spread(builder, va, [2, 6, 3, 7], vb)
        cd_low, cd_high = _spread(builder, vc, [0, 4, 1, 5], vd), _spread(builder, vc, [2, 6, 3, 7], vd)
        columns = [
            _spread(builder, ab_low, [0, 1, 4, 5], cd_low),
            _spread(builder, ab_low, [2, 3, 6, 7], cd_low),
            _spread(builder, ab_high, [0, 1, 4, 5], cd_high),
            _spread(builder, ab_high, [2, 3, 6, 7], cd_high),
        ]
        return context.make_tuple(builder, signature.return_type, columns)

    return _any_types.UniTuple(a, WIDTH)(a, b, c, d), generate


@intrinsic
def _lane(_context: Any, lanes: Any, index: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], ir.IntType(32)))

    return lanes.dtype(lanes, types.intp), generate


def _arithmetic(of_integers: str | None, of_floats: str) -> Any:
    @intrinsic
    def compiled(_context: Any, a: Any, b: Any) -> Any:
        name = of_integers if isinstance(a.dtype, types.Integer) else of_floats
        return a(a, b), lambda _context, builder, _signature, args: getattr(builder, cast("str", name))(*args)

    return compiled


_OPERATORS: Final = {
    operator.add: _arithmetic("add", "fadd"),
    operator.sub: _arithmetic("sub", "fsub"),
    operator.mul: _arithmetic("mul", "fmul"),
    operator.truediv: _arithmetic(None, "fdiv"),
}


def _operator(symbol: Any, compiled: Any) -> None:
    @overload(symbol, strict=False)  # strict compares annotations too
    def _typed(a: Any, b: Any) -> Any:
        if isinstance(a, _LanesType) and a == b:
            return lambda a, b: compiled(a, b)  # noqa: PLW0108  (numba wants a Python function)
        return None


for _symbol, _compiled in _OPERATORS.items():
    _operator(_symbol, _compiled)

_WORDS: Final[dict[np.dtype[Any], np.dtype[Any]]] = {
    np.dtype(np.float32): np.dtype(np.uint32),
    np.dtype(np.float64): np.dtype(np.uint64),
}
_FLOATS: Final = {word: floating for floating, word in _WORDS.items()}


def _load_plainly(array: NDArray[Any], at: int) -> Lanes:
    return array[at : at + WIDTH].copy()


def _store_plainly(array: NDArray[Any], at: int, lanes: Lanes) -> None:
    array[at : at + WIDTH] = lanes


def _every_plainly(value: np.generic) -> Lanes:
    return np.full(WIDTH, value, value.dtype)


def _last_plainly(lanes: Lanes, count: int) -> Lanes:
    return np.where(np.arange(WIDTH) >= WIDTH - count, lanes, lanes.dtype.type(0))


def _transposed_plainly(a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> Lanes:
    return tuple(np.stack([a, b, c, d]).T.copy())


def word_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned integers as wide as a floating dtype."""
    return _WORDS[dtype]


_plain: Final = bool(_config.DISABLE_JIT)

load: Callable[[NDArray[Any], int], Lanes] = _load_plainly if _plain else cast("Any", _load)
"""The four elements from a position on."""
store: Callable[[NDArray[Any], int, Lanes], None] = _store_plainly if _plain else cast("Any", _store)
"""Write four elements."""
every: Callable[[Any], Lanes] = _every_plainly if _plain else cast("Any", _every)
"""One number in all lanes."""
last: Callable[[Lanes, int], Lanes] = _last_plainly if _plain else cast("Any", _last)
"""The last lanes, so many of them, and 0 in those before."""
upper: Callable[[Lanes, Lanes], Lanes] = (lambda a, b: np.where(a > b, a, b)) if _plain else _chosen(">")
"""The larger of two numbers, lane by lane; the second where one is NaN."""
lower: Callable[[Lanes, Lanes], Lanes] = (lambda a, b: np.where(a < b, a, b)) if _plain else _chosen("<")
"""The smaller of two numbers, lane by lane; the second where one is NaN."""
words: Callable[[Lanes], Lanes] = (lambda a: a.view(_WORDS[a.dtype])) if _plain else _seen_as(_INTEGER_OF)
"""The bits of floats, as unsigned integers, which are in the order of the floats where none is negative."""
floats: Callable[[Lanes], Lanes] = (lambda a: a.view(_FLOATS[a.dtype])) if _plain else _seen_as(_FLOATING_OF)
"""The floats that have these bits."""
transposed: Callable[[Lanes, Lanes, Lanes, Lanes], tuple[Lanes, Lanes, Lanes, Lanes]] = (
    _transposed_plainly if _plain else cast("Any", _transposed)
)
"""Of four rows the four columns."""
lane: Callable[[Lanes, int], Any] = (lambda a, i: a[i]) if _plain else cast("Any", _lane)
"""One of the four numbers."""


@lean
def highest(lanes: Lanes) -> Any:
    """The largest of four numbers that are not NaN."""
    return max(lane(lanes, 0), lane(lanes, 1), lane(lanes, 2), lane(lanes, 3))


@lean
def row_sums(values: NDArray[Any], at: int, c: int) -> Lanes:
    """The sums of four rows of c >= 4 columns that lie one after the other."""
    second, third, fourth = at + c, at + 2 * c, at + 3 * c
    a, b, d, e = load(values, at), load(values, second), load(values, third), load(values, fourth)
    k = WIDTH
    while k + WIDTH <= c:
        a = a + load(values, at + k)
        b = b + load(values, second + k)
        d = d + load(values, third + k)
        e = e + load(values, fourth + k)
        k += WIDTH
    if k < c:
        a = a + last(load(values, second - WIDTH), c - k)
        b = b + last(load(values, third - WIDTH), c - k)
        d = d + last(load(values, fourth - WIDTH), c - k)
        e = e + last(load(values, fourth + c - WIDTH), c - k)
    ta, tb, tc, td = transposed(a, b, d, e)
    return (ta + tc) + (tb + td)


@lean
def row_sum(values: NDArray[Any], at: int, c: int) -> Any:
    """The sum of one row of c >= 4 columns, to the bit that of ``row_sums``."""
    a = load(values, at)
    k = WIDTH
    while k + WIDTH <= c:
        a = a + load(values, at + k)
        k += WIDTH
    if k < c:
        a = a + last(load(values, at + c - WIDTH), c - k)
    return (lane(a, 0) + lane(a, 2)) + (lane(a, 1) + lane(a, 3))
