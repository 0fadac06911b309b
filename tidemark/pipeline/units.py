"""Units that a column may be converted between: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemark.runtime.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class UnitOf:
    """A unit. A number x of it is `scale * x + offset` of the quantity's first unit."""

    quantity: str
    scale: float
    offset: float = 0.0


_KELVIN: Final = 273.15
UNITS: Final = {
    "K": UnitOf("temperature", 1.0),
    "degC": UnitOf("temperature", 1.0, _KELVIN),
    "degF": UnitOf("temperature", 5 / 9, _KELVIN - 32 * 5 / 9),
    "m": UnitOf("length", 1.0),
    "km": UnitOf("length", 1e3),
    "cm": UnitOf("length", 1e-2),
    "mm": UnitOf("length", 1e-3),
    "um": UnitOf("length", 1e-6),
    "in": UnitOf("length", 0.0254),
    "ft": UnitOf("length", 0.3048),
    "yd": UnitOf("length", 0.9144),
    "mi": UnitOf("length", 1609.344),
    "nmi": UnitOf("length", 1852.0),
    "kg": UnitOf("mass", 1.0),
    "g": UnitOf("mass", 1e-3),
    "mg": UnitOf("mass", 1e-6),
    "t": UnitOf("mass", 1e3),
    "lb": UnitOf("mass", 0.45359237),
    "oz": UnitOf("mass", 0.028349523125),
    "s": UnitOf("time", 1.0),
    "ms": UnitOf("time", 1e-3),
    "us": UnitOf("time", 1e-6),
    "min": UnitOf("time", 60.0),
    "h": UnitOf("time", 3600.0),
    "d": UnitOf("time", 86_400.0),
    "Pa": UnitOf("pressure", 1.0),
    "hPa": UnitOf("pressure", 100.0),
    "kPa": UnitOf("pressure", 1e3),
    "MPa": UnitOf("pressure", 1e6),
    "bar": UnitOf("pressure", 1e5),
    "mbar": UnitOf("pressure", 100.0),
    "psi": UnitOf("pressure", 6894.757293168361),
    "atm": UnitOf("pressure", 101_325.0),
    "m/s": UnitOf("speed", 1.0),
    "km/h": UnitOf("speed", 1 / 3.6),
    "mph": UnitOf("speed", 0.44704),
    "kn": UnitOf("speed", 1852 / 3600),
    "J": UnitOf("energy", 1.0),
    "kJ": UnitOf("energy", 1e3),
    "MJ": UnitOf("energy", 1e6),
    "Wh": UnitOf("energy", 3600.0),
    "kWh": UnitOf("energy", 3.6e6),
    "W": UnitOf("power", 1.0),
    "kW": UnitOf("power", 1e3),
    "MW": UnitOf("power", 1e6),
    "V": UnitOf("voltage", 1.0),
    "mV": UnitOf("voltage", 1e-3),
    "kV": UnitOf("voltage", 1e3),
    "A": UnitOf("current", 1.0),
    "mA": UnitOf("current", 1e-3),
    "m3": UnitOf("volume", 1.0),
    "l": UnitOf("volume", 1e-3),
    "ml": UnitOf("volume", 1e-6),
    "gal": UnitOf("volume", 0.003785411784),
    "Hz": UnitOf("frequency", 1.0),
    "kHz": UnitOf("frequency", 1e3),
    "rpm": UnitOf("frequency", 1 / 60),
    "rad": UnitOf("angle", 1.0),
    "deg": UnitOf("angle", 0.017453292519943295),
    "1": UnitOf("share", 1.0),
    "%": UnitOf("share", 1e-2),
    "permille": UnitOf("share", 1e-3),
    "ppm": UnitOf("share", 1e-6),
    "B": UnitOf("bytes", 1.0),
    "kB": UnitOf("bytes", 1e3),
    "MB": UnitOf("bytes", 1e6),
    "GB": UnitOf("bytes", 1e9),
    "KiB": UnitOf("bytes", 1024.0),
    "MiB": UnitOf("bytes", 1024.0**2),
    "GiB": UnitOf("bytes", 1024.0**3),
}
"""Every unit by its name."""


def conversion(text: str) -> tuple[float, float]:
    """Factor and summand that make a number of one unit a number of another.

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
    return first.scale / second.scale, (first.offset - second.offset) / second.scale
