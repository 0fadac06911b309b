"""SQL once more, row by row in plain Python: the arithmetic that the stream's expressions are checked against.

It shares nothing with `tidemark.pipeline.sql`: a grammar of its own, Python's unbounded integers, its floats and its
calendar. Whatever is not a whole number of 64 bits, or not exact where it must be, raises `Refused`.

Longer than 400 lines: an oracle stands by itself: grammar and arithmetic share nothing with the product.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Node: TypeAlias = Callable[[Row], Any]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*')|\"(?P<quoted>[^\"]+)\""
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign>//|\|\||<>|<=|>=|!=|::|[-+*/%(),<>=&|~]))"
)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC without a zone, as in expressions
_SECOND: Final = timedelta(seconds=1)
_RANGES: Final = {
    "TINYINT": (-(2**7), 2**7),
    "SMALLINT": (-(2**15), 2**15),
    "INT": (-(2**31), 2**31),
    "INTEGER": (-(2**31), 2**31),
    "BIGINT": (-(2**63), 2**63),
    "UINT": (0, 2**32),
}
_FLOATS: Final = ("DOUBLE", "REAL", "FLOAT")
_TEXTS: Final = ("VARCHAR", "TEXT")


class Refused(Exception):  # noqa: N818 - it is no error of the program's
    """The row has no right value."""


def parse(sql: str) -> tuple[Node, str | None]:
    """What an expression computes of a row, and its name behind AS.

    Raises:
        ValueError: it is not in the part of SQL that is known here.

    """
    reader = _Reader(sql)
    node = reader.expression(0)
    name = None
    if reader.word("AS"):
        name = reader.take()[1]
    if reader.kind is not None:
        raise ValueError(f"{sql!r}: '{reader.text}' is not known to the offline computation")
    return node, name


def whole(value: int) -> int:
    """The number, if it has 64 bits."""
    if not -(2**63) <= value < 2**63:
        raise Refused(f"{value} does not fit into 64 bits")
    return value


def number(value: float) -> float:
    """As a float, if that is exact for all whole numbers around."""
    if isinstance(value, int) and abs(value) > 2**53:
        raise Refused(f"{value} is beyond 2^53")
    return float(value)


def present(value: float) -> float | None:
    """A float, None where it is infinite or undefined."""
    return value if math.isfinite(value) else None


class _Reader:
    """A recursive-descent parser that makes closures."""

    _LEVELS: Final = (
        (("OR",), 1),
        (("AND",), 2),
        (("=", "<>", "!=", "<", "<=", ">", ">="), 4),
        (("||",), 5),
        (("|",), 5),
        (("&",), 5),
        (("+", "-"), 6),
        (("*", "/", "//", "%", "DIV"), 7),
    )

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._at = 0
        self.kind: str | None = None
        self.text = ""
        self.take()

    def take(self) -> tuple[str | None, str]:
        """The present token, and on to the next."""
        current = self.kind, self.text
        if not self._sql[self._at :].strip():
            self.kind, self.text = None, ""
            return current
        match = _TOKEN.match(self._sql, self._at)
        if match is None:
            raise ValueError(f"{self._sql!r}: unreadable at {self._at}")
        self._at = match.end()
        self.kind = match.lastgroup
        self.text = match[match.lastgroup or 0]
        return current

    def word(self, *words: str) -> bool:
        """Whether the next tokens are these words, which are taken then."""
        at, kind, text = self._at, self.kind, self.text
        for word in words:
            if self.kind not in ("word", "sign") or self.text.upper() != word:
                self._at, self.kind, self.text = at, kind, text
                return False
            self.take()
        return True

    def need(self, word: str) -> None:
        if not self.word(word):
            raise ValueError(f"{self._sql!r}: expected {word}, got '{self.text}'")

    def expression(self, level: int) -> Node:
        left = self._prefix()
        while True:
            if level <= 3:
                predicate = self._predicate(left)
                if predicate is not None:
                    left = predicate
                    continue
            for words, binds in self._LEVELS:
                if binds > level and self.kind in ("sign", "word") and self.text.upper() in words:
                    sign = self.take()[1].upper()
                    left = _binary(sign, left, self.expression(binds))
                    break
            else:
                return left

    def _prefix(self) -> Node:
        if self.word("NOT"):
            inner = self.expression(3)
            return lambda row: None if (value := inner(row)) is None else not value
        if self.word("-"):
            inner = self.expression(8)
            return lambda row: _negative(inner(row))
        node = self._atom()
        while self.word("::"):
            node = _cast(node, self.take()[1].upper(), attempt=False)
        return node

    def _atom(self) -> Node:
        kind, text = self.take()
        if kind == "number":
            constant: Any = int(text) if text.isdigit() else float(text)
            return lambda _: constant
        if kind == "text":
            written = text[1:-1].replace("''", "'")
            return lambda _: written
        if kind == "quoted":
            return lambda row: row[text]
        if kind == "sign" and text == "(":
            inner = self.expression(0)
            self.need(")")
            return inner
        if kind != "word":
            raise ValueError(f"{self._sql!r}: '{text}' is not known to the offline computation")
        return self._word(text)

    def _word(self, text: str) -> Node:  # noqa: PLR0911 - one return a form
        name = text.upper()
        if name in ("TRUE", "FALSE", "NULL"):
            constant = {"TRUE": True, "FALSE": False, "NULL": None}[name]
            return lambda _: constant
        if name == "CASE":
            return self._case()
        if name == "INTERVAL" and self.kind == "text":
            amount, unit = self.take()[1].strip("'").split()
            length = timedelta(**{unit.lower().rstrip("s") + "s": int(amount)})
            return lambda _: length
        if not self.word("("):
            return lambda row: row[text]
        if name in ("CAST", "TRY_CAST"):
            inner = self.expression(0)
            self.need("AS")
            to = self.take()[1].upper()
            self.need(")")
            return _cast(inner, to, attempt=name == "TRY_CAST")
        if name == "EXTRACT":
            part = self.take()[1].upper()
            self.need("FROM")
            inner = self.expression(0)
            self.need(")")
            return lambda row: _extract(part, inner(row))
        arguments = []
        while not self.word(")"):
            arguments.append(self.expression(0))
            self.word(",")
        return _call(name, arguments)

    def _predicate(self, left: Node) -> Node | None:
        if self.word("IS", "NOT", "NULL"):
            return lambda row: left(row) is not None
        if self.word("IS", "NULL"):
            return lambda row: left(row) is None
        negated = self.word("NOT", "BETWEEN") or (self.word("NOT", "IN") and "IN") or False
        if negated == "IN" or (not negated and self.word("IN")):
            found = self._among(left)
        elif negated or self.word("BETWEEN"):
            low = self.expression(5)
            self.need("AND")
            high = self.expression(5)
            found = _binary("AND", _binary(">=", left, low), _binary("<=", left, high))
        else:
            return None
        return (lambda row: None if (v := found(row)) is None else not v) if negated else found

    def _among(self, left: Node) -> Node:
        self.need("(")
        found = None
        while not self.word(")"):
            one = _binary("=", left, self.expression(0))
            found = one if found is None else _binary("OR", found, one)
            self.word(",")
        if found is None:
            raise ValueError("IN is empty")
        return found

    def _case(self) -> Node:
        subject = None if self.text.upper() == "WHEN" else self.expression(0)
        branches = []
        while self.word("WHEN"):
            condition = self.expression(0)
            if subject is not None:
                condition = _binary("=", subject, condition)
            self.need("THEN")
            branches.append((condition, self.expression(0)))
        default: Node = self.expression(0) if self.word("ELSE") else (lambda _: None)
        self.need("END")

        def choose(row: Row) -> Any:  # noqa: ANN401 - whatever the branch gives
            for condition, result in branches:
                if condition(row):
                    return result(row)
            return default(row)

        return choose


def _negative(value: Any) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, (float, timedelta)):
        return None if value is None else -value
    return whole(-int(value))


def _binary(sign: str, left: Node, right: Node) -> Node:
    if sign in ("AND", "OR"):
        return lambda row: _logic(sign, left(row), right(row))

    def compute(row: Row) -> Any:  # noqa: ANN401
        a, b = left(row), right(row)
        return None if a is None or b is None else _operate(sign, a, b)

    return compute


def _logic(sign: str, a: bool | None, b: bool | None) -> bool | None:  # noqa: FBT001 - three values of SQL's
    decides = sign == "OR"
    if a is decides or b is decides:
        return decides
    return None if a is None or b is None else not decides


def _operate(sign: str, a: Any, b: Any) -> Any:  # noqa: ANN401, C901, PLR0911 - one line an operator
    if sign == "||":
        return _text(a) + _text(b)
    if isinstance(a, (datetime, timedelta)) or isinstance(b, (datetime, timedelta)):
        a, b = _time(a), _time(b)
    elif isinstance(a, float) or isinstance(b, float) or sign == "/":
        a, b = number(a), number(b)
    if sign in ("=", "<>", "!=", "<", "<=", ">", ">="):
        order = (a > b) - (a < b)
        return {"=": order == 0, "<>": order != 0, "!=": order != 0, "<": order < 0}.get(
            sign, {"<=": order <= 0, ">": order > 0, ">=": order >= 0}.get(sign)
        )
    if isinstance(a, bool):
        a = int(a)
    if isinstance(b, bool):
        b = int(b)
    if sign in ("/", "//", "DIV", "%") and b == 0:
        return None
    if sign in ("&", "|"):
        return a & b if sign == "&" else a | b
    if isinstance(a, float):
        return present(_of_floats(sign, a, b))
    if isinstance(a, int):
        cut = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if sign in ("//", "DIV", "%") else 0
        return whole({"+": a + b, "-": a - b, "*": a * b, "%": a - cut * b}.get(sign, cut))
    return a + b if sign == "+" else a - b


def _of_floats(sign: str, a: float, b: float) -> float:
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    if sign == "*":
        return a * b
    if sign == "/":
        return a / b
    rest = math.fmod(a, b)
    if sign == "%":
        return rest
    quotient = (a - rest) / b
    return float(round(quotient)) if math.isfinite(quotient) else quotient


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float):
        raise ValueError("the offline computation does not write floats as text")  # noqa: TRY004
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, str):
        return value
    time = datetime.fromisoformat(value)
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _cast(node: Node, to: str, *, attempt: bool) -> Node:
    def compute(row: Row) -> Any:  # noqa: ANN401
        value = node(row)
        try:
            return None if value is None else _converted(value, to)
        except Refused:
            if attempt:
                return None
            raise

    return compute


def _converted(value: Any, to: str) -> Any:  # noqa: ANN401
    if to in _TEXTS:
        return _text(value)
    if to == "BOOLEAN":
        return value != 0
    if to == "TIMESTAMP":
        return _time(value)
    if to in _FLOATS:
        if not isinstance(value, str):
            return number(value)
        if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", value, re.ASCII):
            raise Refused(f"{value!r} is no number")
        read = float(value)
        if not math.isfinite(read):
            raise Refused(f"{value!r} is beyond float64")
        return read
    low, high = _RANGES[to]
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d+", value, re.ASCII):
        raise Refused(f"{value!r} is no whole number")
    integer = int(value)
    if not low <= integer < high:
        raise Refused(f"{value!r} is no {to}")
    return integer


def _extract(part: str, value: Any) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value / _SECOND
    calendar = value.isocalendar()
    microseconds = value.second * 1_000_000 + value.microsecond
    parts: dict[str, Any] = {
        "YEAR": value.year,
        "DECADE": value.year // 10,
        "CENTURY": -(-value.year // 100),
        "MILLENNIUM": -(-value.year // 1000),
        "QUARTER": (value.month + 2) // 3,
        "MONTH": value.month,
        "WEEK": calendar.week,
        "DAY": value.day,
        "DOY": value.timetuple().tm_yday,
        "DOW": calendar.weekday % 7,
        "ISODOW": calendar.weekday,
        "HOUR": value.hour,
        "MINUTE": value.minute,
        "SECOND": value.second,
        "MILLISECOND": microseconds / 1_000,
        "MICROSECOND": float(microseconds),
        "EPOCH": (value - _EPOCH) / _SECOND,
    }
    return parts[part]


def _call(name: str, arguments: list[Node]) -> Node:  # noqa: C901
    if name in ("COALESCE", "IFNULL"):
        return lambda row: next((v for argument in arguments if (v := argument(row)) is not None), None)
    if name == "IF":
        return lambda row: arguments[1](row) if arguments[0](row) else arguments[2](row)
    if name in ("GREATEST", "LEAST"):

        def extreme(row: Row) -> Any:  # noqa: ANN401
            values = [v for argument in arguments if (v := argument(row)) is not None]
            if any(isinstance(value, float) for value in values):
                values = [number(value) for value in values]
            return (max if name == "GREATEST" else min)(values, default=None)

        return extreme
    if name == "NULLIF":
        equal = _binary("=", *arguments)
        return lambda row: None if equal(row) else arguments[0](row)
    if name in ("MOD", "DIV"):
        return _binary("%" if name == "MOD" else "DIV", *arguments)
    if name not in _FUNCTIONS:
        raise ValueError(f"{name}() is not known to the offline computation")

    def compute(row: Row) -> Any:  # noqa: ANN401
        values = [argument(row) for argument in arguments]
        if any(value is None for value in values):
            return None
        try:
            result = _FUNCTIONS[name](*values)
        except (ValueError, OverflowError):  # outside of the function's domain, or beyond float64
            return None
        return present(result) if isinstance(result, float) else result

    return compute


def _round(value: Any, digits: int = 0) -> Any:  # noqa: ANN401
    if not isinstance(value, float):
        return int(value)
    scaled = value * 10.0**digits
    return float(round(scaled)) / 10.0**digits if abs(scaled) < 2**53 else value


def _integral(compute: Callable[[float], int]) -> Callable[[Any], Any]:
    return lambda value: float(compute(value)) if isinstance(value, float) else int(value)


def _substring(text: str, start: int, length: int | None = None) -> str:
    end = len(text) + 1 if length is None else start + max(length, 0)
    return "".join(c for place, c in enumerate(text, 1) if start <= place < end)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "ABS": lambda x: abs(x) if isinstance(x, float) else whole(abs(int(x))),
    "SIGN": lambda x: type(x)((x > 0) - (x < 0)) if isinstance(x, float) else (x > 0) - (x < 0),
    "ROUND": _round,
    "CEIL": _integral(math.ceil),
    "FLOOR": _integral(math.floor),
    "TRUNC": _integral(math.trunc),
    "SQRT": lambda x: math.sqrt(number(x)),
    "CBRT": lambda x: math.cbrt(number(x)),
    "EXP": lambda x: math.exp(number(x)),
    "LN": lambda x: math.log(number(x)),
    "LOG1P": lambda x: math.log1p(number(x)),
    "LOG2": lambda x: math.log2(number(x)),
    "LOG10": lambda x: math.log10(number(x)),
    "LOG": lambda x, base: math.log(number(x)) / math.log(number(base)),
    "POWER": lambda x, y: math.pow(number(x), number(y)),
    "POW": lambda x, y: math.pow(number(x), number(y)),
    "SIN": lambda x: math.sin(number(x)),
    "COS": lambda x: math.cos(number(x)),
    "ATAN2": lambda y, x: math.atan2(number(y), number(x)),
    "XOR": lambda a, b: a ^ b,
    "LENGTH": len,
    "OCTET_LENGTH": lambda text: len(text.encode()),
    "STRPOS": lambda text, part: text.find(part) + 1,
    "LOWER": str.lower,
    "UPPER": str.upper,
    "SUBSTR": _substring,
    "LEFT": lambda text, n: text[:n],
    "RIGHT": lambda text, n: text[-n:] if n else "",
    "REPLACE": str.replace,
    "STARTS_WITH": str.startswith,
    "ENDS_WITH": str.endswith,
}
