"""The classic rules that decide on each event of a stream alone, by a threshold that follows the stream.

They need no pool and no tile, and they can be had on every event; on real streams they were worth half of what
selection from a window is. State goes in and comes out as plain numbers, so it can be committed with the offsets.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, number
from kernels.numerics._jit import lean
from kernels.numerics._logarithm import log64

_LOW_BITS: Final = np.uint64(0xFFFFFFFF)
_U32: Final = np.uint64(32)


class ThresholdState(NamedTuple):
    """Where a rule stands: the confidence below which it asks, and the exponentially forgotten labels it asked for."""

    threshold: float = 1.0
    spent: float = 0.0


class Chosen(NamedTuple):
    """Whether each event is to be labeled, and the state after the last of them."""

    chosen: NDArray[np.bool_]
    state: ThresholdState


@lean
def _normal(coin: np.uint64) -> float:
    """A standard normal number from the two halves of a coin (Box and Muller 1958).

    The cosine is summed here, around the nearest quarter turn, so that no library's last bit decides what is chosen.
    """
    radius = float(np.sqrt(-2.0 * log64(np.float64((float(coin >> _U32) + 1.0) * 2.0**-32))))
    turn = float(coin & _LOW_BITS) * 2.0**-32
    quarter = int(4.0 * turn + 0.5)
    x = (turn - 0.25 * quarter) * 6.283185307179586
    z = x * x
    sine, cosine, term = 0.0, 0.0, 1.0
    for k in range(11):
        cosine += term
        sine += term * x / (2 * k + 1)
        term *= -z / ((2 * k + 1) * (2 * k + 2))
    along = sine if quarter & 1 else cosine
    return -radius * along if (quarter + 1) & 2 else radius * along


@lean
def _variable_uncertainty(
    confidence: NDArray[np.float64],
    coins: NDArray[np.uint64],
    rule: tuple[float, float, float, float],
    state: tuple[float, float],
    chosen: NDArray[np.bool_],
) -> tuple[float, float]:
    budget, step, spread, forget = rule
    threshold, spent = state
    for i in range(confidence.shape[0]):
        chosen[i] = False
        c = confidence[i]
        if spent * (1.0 - forget) < budget and c == c:  # noqa: PLR0124
            varied = threshold
            if spread > 0.0:
                varied *= 1.0 + spread * _normal(coins[i])
            if c < varied:
                chosen[i] = True
                threshold *= 1.0 - step
            else:
                threshold = min(threshold * (1.0 + step), 1.0)
        spent = spent * forget + (1.0 if chosen[i] else 0.0)
    return threshold, spent


def variable_uncertainty(
    confidence: NDArray[np.floating],
    coins: NDArray[np.uint64],
    state: ThresholdState,
    budget: float,
    *,
    step: float = 0.01,
    spread: float = 1.0,
    window: int = 100,
) -> Chosen:
    """Ask for the label of an event whose confidence lies below a threshold that moves with the stream.

    confidence: (n,) float32 or float64, highest predicted probability of each event; NaN is never chosen.  coins:
    (n,) uint64.  state: of the previous events.  budget: share of events to be labeled, 0 to 1.  step: by how much
    the threshold falls at a label and rises (to at most 1) without one.  spread: standard deviation of the normal
    factor that varies the threshold from event to event, so that labels come from everywhere in the space; 0 gives
    the plain variable uncertainty rule.  window: events over which spending is remembered.

    Raises ValueError where an argument does not fit. Žliobaitė, Bifet, Pfahringer and Holmes 2014, "Active learning
    with drifting streaming data", the variable and the randomised variable uncertainty strategies: nothing is asked
    while ``spent / window`` is at the budget, which the last label may therefore exceed by ``1 / window``.
    """
    checked = array("confidence", confidence, (np.float32, np.float64), (None,)).astype(np.float64)
    tossed = array("coins", coins, np.uint64, checked.shape)
    rule = (
        number("budget", budget, 0.0, 1.0),
        number("step", step, 0.0, 1.0),
        number("spread", spread, 0.0, 100.0),
        1.0 - 1.0 / number("window", window, 1.0, 1e15),
    )
    before = (number("state.threshold", state.threshold, 0.0, 1.0), number("state.spent", state.spent, 0.0, 1e15))
    chosen = np.empty(checked.shape[0], np.bool_)
    after = _variable_uncertainty(array("confidence", checked, np.float64, (None,)), tossed, rule, before, chosen)
    return Chosen(chosen, ThresholdState(*after))
