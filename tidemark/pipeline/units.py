"""Units that a column may be converted between: one table."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm, pi
from typing import Final, NamedTuple

from tidemark.runtime.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class UnitOf:
    """A unit. A number x of it is `scale * x + offset` of the quantity's first unit."""

    quantity: str
    scale: Fraction
    offset: Fraction = Fraction(0)


class Conversion(NamedTuple):
    """Makes a number x of one unit `(x * factor + summand) / divisor` of another.

    All three are whole numbers, where float64 has them: so 140 degF are 60 degC, and 57 % are 0.57.
    """

    factor: float
    summand: float
    divisor: float


_EXACT: Final = 2**53
_KELVIN: Final = Fraction("273.15")
_POUND: Final = Fraction("0.45359237")
_INCH: Final = Fraction("0.0254")
UNITS: Final = {
    "K": UnitOf("temperature", Fraction(1)),
    "degC": UnitOf("temperature", Fraction(1), _KELVIN),
    "degF": UnitOf("temperature", Fraction(5, 9), _KELVIN - 32 * Fraction(5, 9)),
    "m": UnitOf("length", Fraction(1)),
    "km": UnitOf("length", Fraction(1_000)),
    "cm": UnitOf("length", Fraction("1e-2")),
    "mm": UnitOf("length", Fraction("1e-3")),
    "um": UnitOf("length", Fraction("1e-6")),
    "in": UnitOf("length", _INCH),
    "ft": UnitOf("length", Fraction("0.3048")),
    "yd": UnitOf("length", Fraction("0.9144")),
    "mi": UnitOf("length", Fraction("1609.344")),
    "nmi": UnitOf("length", Fraction(1_852)),
    "kg": UnitOf("mass", Fraction(1)),
    "g": UnitOf("mass", Fraction("1e-3")),
    "mg": UnitOf("mass", Fraction("1e-6")),
    "t": UnitOf("mass", Fraction(1_000)),
    "lb": UnitOf("mass", _POUND),
    "oz": UnitOf("mass", Fraction("0.028349523125")),
    "s": UnitOf("time", Fraction(1)),
    "ms": UnitOf("time", Fraction("1e-3")),
    "us": UnitOf("time", Fraction("1e-6")),
    "min": UnitOf("time", Fraction(60)),
    "h": UnitOf("time", Fraction(3_600)),
    "d": UnitOf("time", Fraction(86_400)),
    "Pa": UnitOf("pressure", Fraction(1)),
    "hPa": UnitOf("pressure", Fraction(100)),
    "kPa": UnitOf("pressure", Fraction(1_000)),
    "MPa": UnitOf("pressure", Fraction(1_000_000)),
    "bar": UnitOf("pressure", Fraction(100_000)),
    "mbar": UnitOf("pressure", Fraction(100)),
    "psi": UnitOf("pressure", _POUND * Fraction("9.80665") / _INCH**2),
    "atm": UnitOf("pressure", Fraction(101_325)),
    "m/s": UnitOf("speed", Fraction(1)),
    "km/h": UnitOf("speed", Fraction(1000, 3600)),
    "mph": UnitOf("speed", Fraction("0.44704")),
    "kn": UnitOf("speed", Fraction(1852, 3600)),
    "J": UnitOf("energy", Fraction(1)),
    "kJ": UnitOf("energy", Fraction(1_000)),
    "MJ": UnitOf("energy", Fraction(1_000_000)),
    "Wh": UnitOf("energy", Fraction(3_600)),
    "kWh": UnitOf("energy", Fraction(3_600_000)),
    "W": UnitOf("power", Fraction(1)),
    "kW": UnitOf("power", Fraction(1_000)),
    "MW": UnitOf("power", Fraction(1_000_000)),
    "V": UnitOf("voltage", Fraction(1)),
    "mV": UnitOf("voltage", Fraction("1e-3")),
    "kV": UnitOf("voltage", Fraction(1_000)),
    "A": UnitOf("current", Fraction(1)),
    "mA": UnitOf("current", Fraction("1e-3")),
    "m3": UnitOf("volume", Fraction(1)),
    "l": UnitOf("volume", Fraction("1e-3")),
    "ml": UnitOf("volume", Fraction("1e-6")),
    "gal": UnitOf("volume", Fraction("0.003785411784")),
    "Hz": UnitOf("frequency", Fraction(1)),
    "kHz": UnitOf("frequency", Fraction(1_000)),
    "rpm": UnitOf("frequency", Fraction(1, 60)),
    "rad": UnitOf("angle", Fraction(1)),
    "deg": UnitOf("angle", Fraction(pi) / 180),
    "1": UnitOf("share", Fraction(1)),
    "%": UnitOf("share", Fraction("1e-2")),
    "permille": UnitOf("share", Fraction("1e-3")),
    "ppm": UnitOf("share", Fraction("1e-6")),
    "B": UnitOf("bytes", Fraction(1)),
    "kB": UnitOf("bytes", Fraction(1_000)),
    "MB": UnitOf("bytes", Fraction(1_000_000)),
    "GB": UnitOf("bytes", Fraction(1_000_000_000)),
    "KiB": UnitOf("bytes", Fraction(1024)),
    "MiB": UnitOf("bytes", Fraction(1024**2)),
    "GiB": UnitOf("bytes", Fraction(1024**3)),
}
"""Every unit by its name."""


def conversion(text: str) -> Conversion:
    """What makes a number of one unit a number of another.

    Args:
        text: as `degF to degC`.

    Raises:
        ValueError: it is not so written, or the units are unknown or of two quantities; says which.

    """
    given, apart, wanted = text.partition(" to ")
    if not apart:
        raise ValueError(f"{text!r} names no units; write as 'degF to degC'")
    for name in (given, wanted):
        if name not in UNITS:
            raise ValueError(f"{name!r} is no unit; {did_you_mean(name, list(UNITS))}")
    first, second = UNITS[given], UNITS[wanted]
    if first.quantity != second.quantity:
        raise ValueError(f"{given} is a {first.quantity} and {wanted} a {second.quantity}; write units of one quantity")
    factor, summand = first.scale / second.scale, (first.offset - second.offset) / second.scale
    divisor = lcm(factor.denominator, summand.denominator)
    if max(factor * divisor, abs(summand) * divisor, Fraction(divisor)) > _EXACT:
        return Conversion(float(factor), float(summand), 1.0)
    return Conversion(float(factor * divisor), float(summand * divisor), float(divisor))
