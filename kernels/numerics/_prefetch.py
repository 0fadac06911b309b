"""A hint to the processor: an element of an array will be read soon."""

from collections.abc import Callable
from typing import Any, cast

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

_READ, _KEEP, _DATA = 0, 3, 1
_config: Any = numba.config


@intrinsic
def _prefetch(_context: Any, array: Any, index: Any) -> Any:  # noqa: ANN401  (numba's own types)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        byte, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte] + [number] * 3)
        )
        builder.call(hint, [builder.bitcast(pointer, byte), *(ir.Constant(number, n) for n in (_READ, _KEEP, _DATA))])
        return context.get_dummy_value()

    return types.none(array, index), generate


def _nothing(array: NDArray[Any], index: int) -> None:
    """In place of the hint where kernels run uncompiled."""


prefetch: Callable[[NDArray[Any], int], None] = _nothing if _config.DISABLE_JIT else cast("Any", _prefetch)
