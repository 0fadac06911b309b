"""Trees of SQL to Polars expressions: operators, CASE and the rest of the grammar; functions are in their table.

Longer than 400 lines: each kind of node of a tree has its method, and they call each other.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import polars as pl
from sqlglot import exp

from tidemark.pipeline.sql import arithmetic, casts, functions, texts, times
from tidemark.pipeline.sql.parsing import Parsed
from tidemark.pipeline.sql.values import (
    DTYPES,
    HIGHEST,
    Failure,
    Failures,
    Kind,
    Value,
    common_kind,
    convert,
    finite,
    kind_of,
    literal,
    to_number,
)
from tidemark.runtime.suggestions import near

OTHER_ROWS: Final = "it looks at other rows than its own; across rows only [[windows]] can be replayed"
_CLOCK: Final = "it asks for the present time, which a replay can't repeat; use the event's time column"
_DIGITS: Final = re.compile(r"[0-9]+")
_NUMBER: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MANY: Final = 8
_Binary: TypeAlias = Callable[[Value, Value, Failures], Value]

_ARITHMETIC: Final[dict[type[exp.Expression], _Binary]] = {
    exp.Add: arithmetic.add,
    exp.Sub: arithmetic.subtract,
    exp.Mul: arithmetic.multiply,
    exp.Div: arithmetic.divide,
    exp.IntDiv: arithmetic.quotient,
    exp.Mod: arithmetic.remainder,
    exp.BitwiseAnd: lambda a, b, _: arithmetic.bits("&", a, b),
    exp.BitwiseOr: lambda a, b, _: arithmetic.bits("|", a, b),
}
_COMPARISONS: Final[dict[type[exp.Expression], Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.NullSafeEQ: lambda a, b: a.eq_missing(b),
    exp.NullSafeNEQ: lambda a, b: a.ne_missing(b),
}
_REMEDIES: Final[dict[type[exp.Expression], str]] = {
    exp.BitwiseXor: "'^' is a power to some and XOR to others; write POWER(x, y) or XOR(x, y)",
    exp.CurrentTimestamp: _CLOCK,
    exp.CurrentDate: _CLOCK,
    exp.CurrentTime: _CLOCK,
    exp.Window: OTHER_ROWS,
    exp.Filter: OTHER_ROWS,
    exp.Subquery: OTHER_ROWS,
    exp.Select: OTHER_ROWS,
    exp.Star: "it gives several columns; write one expression for each",
    exp.Alias: "it gives several names; AS stands at the end alone",
    exp.AtTimeZone: "times are UTC; add an INTERVAL for another zone",
}
_IGNORED: Final[dict[type[exp.Expression], frozenset[str]]] = {
    exp.Div: frozenset({"typed", "safe"}),
    exp.DPipe: frozenset({"safe"}),
    exp.TryCast: frozenset({"safe"}),
}
"""Arguments of nodes that tell a dialect and change no meaning; any other that is not read here is refused."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression that is ready.

    expr: what it gives, of type `dtype`.  failures: the rows on which it has no right value.
    """

    expr: pl.Expr
    dtype: pl.DataType
    failures: tuple[Failure, ...]


def compile_sql(parsed: Parsed, schema: Mapping[str, pl.DataType], *, number: bool = False) -> Compiled:
    """A parsed expression over columns of `schema`.

    Args:
        parsed: the expression.
        schema: types of the columns.
        number: whether a whole number is made float64, exactly or not at all; what is not finite is the caller's.

    Returns:
        The expression in Polars's terms.

    Raises:
        ValueError: it uses what can't be computed rightly; the message says what to write.

    """
    compiler = _Compiler(schema)
    try:
        value = compiler.value(parsed.tree)
        if number and value.kind is Kind.WHOLE:
            value = to_number(value, compiler.failures)
    except RecursionError as error:
        raise ValueError("it is nested too deeply to be read; split it") from error
    if value.kind is Kind.NULL:
        raise ValueError("it is always NULL; remove it")
    if value.kind is Kind.WHOLE and value.low > HIGHEST:
        raise ValueError("it never fits into a whole number of 64 bits")
    value = value if number else finite(value)
    return Compiled(value.expr, DTYPES[value.kind], tuple(compiler.failures.found))


class _Compiler:
    """One expression's compilation."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self._schema = schema
        self.failures = Failures()

    def value(self, node: exp.Expression) -> Value:
        """The value that a node stands for."""
        for kind, remedy in _REMEDIES.items():
            if isinstance(node, kind):
                raise ValueError(remedy)  # noqa: TRY004 - a setting
        if type(node) in _ARITHMETIC:
            a, b = self._parts(node, "this", "expression")
            if isinstance(node, exp.Sub):
                a, b = _as_times(a, b), _as_times(b, a)
            return _ARITHMETIC[type(node)](a, b, self.failures)
        if type(node) in _COMPARISONS:
            a, b = self._parts(node, "this", "expression")
            return self.compare(_COMPARISONS[type(node)], a, b)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            shown = node.sql()
            raise ValueError(f"'{shown[:60]}' is not known here; see docs/reference/expressions.md for what is")
        return handler(self, node)

    def compare(self, compute: Callable[[pl.Expr, pl.Expr], pl.Expr], a: Value, b: Value) -> Value:
        """A comparison of two values of one kind, or that can be made one without another meaning."""
        a, b = _as_times(a, b), _as_times(b, a)
        kind = common_kind([a.kind, b.kind])
        kind = Kind.WHOLE if kind is Kind.NULL else kind
        x, y = (convert(value, kind, self.failures) for value in (a, b))
        return Value(compute(x.expr, y.expr), Kind.TRUTH)

    def truth(self, node: exp.Expression) -> pl.Expr:
        """A condition."""
        value = self.value(node)
        if value.kind is Kind.NULL:
            return literal(None, Kind.TRUTH).expr
        if value.kind is not Kind.TRUTH:
            raise ValueError(f"'{node.sql()[:60]}' is {value.kind.value}, not true or false; compare it, as in x <> 0")
        return value.expr

    def guarded(self, condition: pl.Expr, node: exp.Expression) -> Value:
        """The value of a part that counts only on the rows where the condition holds."""
        before = self.failures.guard
        self.failures.guard = condition if before is None else before & condition
        try:
            return self.value(node)
        finally:
            self.failures.guard = before

    def _parts(self, node: exp.Expression, *names: str) -> list[Value]:
        _only(node, *names)
        return [self.value(node.args[name]) for name in names]

    def column(self, node: exp.Expression) -> Value:
        _only(node, "this")
        if isinstance(node.this, exp.Star):
            raise ValueError(_REMEDIES[exp.Star])  # noqa: TRY004 - what a setting says, not a type of ours
        name = node.name
        if name not in self._schema:
            raise ValueError(f"there is no column '{name}'")
        kind = kind_of(self._schema[name])
        return Value(pl.col(name), kind, full=True)

    def constant(self, node: exp.Expression) -> Value:
        text = str(node.this)
        if node.is_string:
            return literal(text, Kind.TEXT)
        if _DIGITS.fullmatch(text):
            if len(text) > 40 or int(text) > HIGHEST:
                raise ValueError(f"{text[:40]} does not fit into 64 bits; write it as a float, as in 1e20")
            return literal(int(text), Kind.WHOLE)
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"'{text[:40]}' is no number")
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"{text[:40]} is beyond float64")
        return literal(number, Kind.NUMBER)

    def truth_constant(self, node: exp.Expression) -> Value:
        return literal(bool(node.this), Kind.TRUTH)

    def null(self, _: exp.Expression) -> Value:
        return literal(None, Kind.NULL)

    def parenthesis(self, node: exp.Expression) -> Value:
        return self._parts(node, "this")[0]

    def negative(self, node: exp.Expression) -> Value:
        _only(node, "this")
        inner = node.this
        if isinstance(inner, exp.Literal) and not inner.is_string and str(inner.this) == str(HIGHEST + 1):
            return literal(-HIGHEST - 1, Kind.WHOLE)
        return arithmetic.negate(self.value(inner), self.failures)

    def negation(self, node: exp.Expression) -> Value:
        _only(node, "this")
        return Value(~self.truth(node.this), Kind.TRUTH)

    def conjunction(self, node: exp.Expression) -> Value:
        _only(node, "this", "expression")
        a, b = self.truth(node.this), self.truth(node.args["expression"])
        return Value(a & b if isinstance(node, exp.And) else a | b, Kind.TRUTH)

    def is_(self, node: exp.Expression) -> Value:
        _only(node, "this", "expression")
        wanted = node.args["expression"]
        if isinstance(wanted, exp.Null):
            return Value(finite(self.value(node.this)).expr.is_null(), Kind.TRUTH)
        if isinstance(wanted, exp.Boolean):
            return Value(self.truth(node.this).eq_missing(pl.lit(bool(wanted.this))), Kind.TRUTH)
        raise ValueError(f"'{node.sql()[:60]}' is not known here; IS takes NULL, TRUE and FALSE")

    def between(self, node: exp.Expression) -> Value:
        x, low, high = self._parts(node, "this", "low", "high")
        above, below = self.compare(operator.ge, x, low), self.compare(operator.le, x, high)
        return Value(above.expr & below.expr, Kind.TRUTH)

    def among(self, node: exp.Expression) -> Value:
        _only(node, "this", "expressions")
        x = self.value(node.this)
        items = [self.value(item) for item in node.args["expressions"]]
        if not items:
            raise ValueError("IN needs at least one value")
        alike = x.kind in {Kind.TEXT, Kind.WHOLE} and all(i.kind is x.kind and i.constant is not None for i in items)
        if alike and len(items) > _MANY:
            known = pl.Series([item.constant for item in items], dtype=DTYPES[x.kind]).implode()
            return Value(x.expr.is_in(pl.lit(known)), Kind.TRUTH)
        found = [self.compare(operator.eq, x, item).expr for item in items]
        either = found[0]
        for one in found[1:]:
            either = either | one
        return Value(either, Kind.TRUTH)

    def like(self, node: exp.Expression) -> Value:
        escape = None
        if isinstance(node, exp.Escape):
            _only(node, "this", "expression")
            escape = self.value(node.args["expression"]).constant
            node = node.this
        if not isinstance(node, (exp.Like, exp.ILike)):
            raise ValueError(f"'{node.sql()[:60]}' is not known here")  # noqa: TRY004 - the same
        _only(node, "this", "expression", "negate")
        value, pattern = self.value(node.this), self.value(node.args["expression"])
        found = texts.like(texts.text(value, "LIKE"), pattern.constant, escape, fold=isinstance(node, exp.ILike))
        return Value(~found.expr, Kind.TRUTH) if node.args.get("negate") else found

    def regular(self, node: exp.Expression) -> Value:
        _only(node, "this", "expression", "negate")
        value, pattern = self.value(node.this), self.value(node.args["expression"])
        found = texts.matches(texts.text(value, "~"), pattern.constant)
        return Value(~found.expr, Kind.TRUTH) if node.args.get("negate") else found

    def joined(self, node: exp.Expression) -> Value:
        a, b = self._parts(node, "this", "expression")
        if Kind.TEXT not in {a.kind, b.kind}:
            raise ValueError("'||' joins texts; CAST one side to VARCHAR")
        wrong = {a.kind, b.kind} - {Kind.TEXT, Kind.WHOLE, Kind.NUMBER, Kind.TRUTH, Kind.NULL}
        if wrong:
            raise ValueError(f"'||' joins texts, and got {wrong.pop().value}")
        return Value(casts.as_text(a).expr + casts.as_text(b).expr, Kind.TEXT)

    def cast(self, node: exp.Expression) -> Value:
        _only(node, "this", "to")
        attempt = isinstance(node, exp.TryCast)
        return casts.cast(self.value(node.this), node.args["to"], self.failures, attempt=attempt)

    def case(self, node: exp.Expression) -> Value:
        _only(node, "this", "ifs", "default")
        subject = None if node.this is None else self.value(node.this)
        conditions, results = [], []
        rest: pl.Expr | None = None
        for branch in node.args["ifs"]:
            _only(branch, "this", "true")
            condition = self._condition(rest, subject, branch.this)
            holds = condition.fill_null(value=False)
            results.append(self.guarded(holds if rest is None else rest & holds, branch.args["true"]))
            conditions.append(condition)
            rest = ~holds if rest is None else rest & ~holds
        default = node.args.get("default")
        if rest is None:
            raise ValueError("CASE has no WHEN")
        results.append(literal(None, Kind.NULL) if default is None else self.guarded(rest, default))
        return self._chosen(conditions, results)

    def choice(self, node: exp.Expression) -> Value:
        """IF(condition, this, that)."""
        _only(node, "this", "true", "false")
        condition = self.truth(node.this)
        holds = condition.fill_null(value=False)
        other = node.args.get("false")
        results = [
            self.guarded(holds, node.args["true"]),
            literal(None, Kind.NULL) if other is None else self.guarded(~holds, other),
        ]
        return self._chosen([condition], results)

    def _condition(self, rest: pl.Expr | None, subject: Value | None, node: exp.Expression) -> pl.Expr:
        """A condition of CASE, which counts on the rows that no earlier one took."""
        before = self.failures.guard
        if rest is not None:
            self.failures.guard = rest if before is None else before & rest
        try:
            if subject is None:
                return self.truth(node)
            return self.compare(operator.eq, subject, self.value(node)).expr
        finally:
            self.failures.guard = before

    def _chosen(self, conditions: Sequence[pl.Expr], results: Sequence[Value]) -> Value:
        kind = common_kind([result.kind for result in results])
        if kind is Kind.NULL:
            return literal(None, Kind.NULL)
        same = self._alike(results, kind, conditions)
        chosen = same[-1].expr
        for condition, value in zip(reversed(conditions), reversed(same[:-1]), strict=True):
            chosen = pl.when(condition).then(value.expr).otherwise(chosen)
        return Value(chosen, kind, *_bounds(results, same))

    def _alike(self, results: Sequence[Value], kind: Kind, conditions: Sequence[pl.Expr]) -> list[Value]:
        """The results as one kind, each refused only on the rows where it is the one chosen."""
        same, before = [], self.failures.guard
        rest: pl.Expr | None = None
        for i, result in enumerate(results):
            mine = rest
            if i < len(conditions):
                holds = conditions[i].fill_null(value=False)
                mine = holds if rest is None else rest & holds
                rest = ~holds if rest is None else rest & ~holds
            self.failures.guard = mine if before is None or mine is None else before & mine
            same.append(convert(result, kind, self.failures))
        self.failures.guard = before
        return same

    def function(self, node: exp.Expression) -> Value:
        _only(node, "this", "expressions")
        written = str(node.this)
        name = functions.ALIASES.get(written.upper(), written.upper())
        arguments = node.args.get("expressions") or []
        if name in functions.CLOCKS:
            raise ValueError(_CLOCK)
        if name in functions.AGGREGATES:
            raise ValueError(OTHER_ROWS)
        if name == "COALESCE":
            return self._first_present(arguments)
        if name == "NULLIF" and len(arguments) == 2:
            a, b = (self.value(argument) for argument in arguments)
            equal = self.compare(operator.eq, a, b).expr
            return Value(pl.when(~equal.fill_null(value=False)).then(finite(a).expr), a.kind, a.low, a.high)
        if name not in functions.FUNCTIONS:
            known = [*functions.FUNCTIONS, *functions.ALIASES, "COALESCE", "NULLIF", "IF"]
            close = near(name, known)
            remedy = f"did you mean {close}?" if close else "docs/reference/expressions.md lists those that are"
            raise ValueError(f"the function {written}() is not known; {remedy}")
        return functions.call(name, [self.value(argument) for argument in arguments], self.failures)

    def _first_present(self, arguments: Sequence[exp.Expression]) -> Value:
        values: list[Value] = []
        absent: list[pl.Expr] = []
        for argument in arguments:
            value = self.value(argument) if not absent else self.guarded(pl.all_horizontal(absent), argument)
            values.append(value)
            absent.append(finite(value).expr.is_null())
        if not values:
            raise ValueError("COALESCE takes 1 or more arguments, and got 0")
        kind = common_kind([value.kind for value in values])
        if kind is Kind.NULL:
            return literal(None, Kind.NULL)
        same = self._alike(values, kind, [~one for one in absent[:-1]])
        return Value(pl.coalesce([value.expr for value in same]), kind, *_bounds(values, same))

    def extract(self, node: exp.Expression) -> Value:
        _only(node, "this", "expression")
        return times.extract(str(node.this.this), self.value(node.args["expression"]), self.failures)

    def interval(self, node: exp.Expression) -> Value:
        _only(node, "this", "unit")
        return times.interval(node)  # type: ignore[arg-type]

    def position(self, node: exp.Expression) -> Value:
        text, part = self._parts(node, "this", "substr")
        return texts.position(texts.text(text, "POSITION"), texts.text(part, "POSITION"))

    def substring(self, node: exp.Expression) -> Value:
        names = [name for name in ("this", "start", "length") if node.args.get(name) is not None]
        return functions.call("SUBSTR", self._parts(node, *names), self.failures)

    def trim(self, node: exp.Expression) -> Value:
        _only(node, "this", "expression", "position")
        characters = node.args.get("expression")
        given = None if characters is None else self.value(characters).constant
        if characters is not None and not isinstance(given, str):
            raise ValueError("TRIM needs its characters in quotes")
        side = str(node.args.get("position") or "BOTH").upper()
        return texts.trim(texts.text(self.value(node.this), "TRIM"), given, side)


def _as_times(value: Value, other: Value) -> Value:
    """A literal beside a time is a time."""
    if other.kind in {Kind.TIME, Kind.DATE} and isinstance(value.constant, str):
        return casts.time_of(value.constant)
    return value


def _bounds(results: Sequence[Value], same: Sequence[Value]) -> tuple[int, int]:
    present = [value for value, before in zip(same, results, strict=True) if before.kind is not Kind.NULL]
    return min(value.low for value in present), max(value.high for value in present)


def _only(node: exp.Expression, *names: str) -> None:
    """Refuse a node with arguments that nobody reads: they would change its meaning."""
    known = {*names, *_IGNORED.get(type(node), ())}
    for name, value in node.args.items():
        if name not in known and value not in (None, False, []):
            raise ValueError(f"'{node.sql()[:60]}' is not known here; see docs/reference/expressions.md for what is")


_HANDLERS: Final[dict[type[exp.Expression], Callable[[_Compiler, exp.Expression], Value]]] = {
    exp.Column: _Compiler.column,
    exp.Literal: _Compiler.constant,
    exp.Boolean: _Compiler.truth_constant,
    exp.Null: _Compiler.null,
    exp.Paren: _Compiler.parenthesis,
    exp.Neg: _Compiler.negative,
    exp.Not: _Compiler.negation,
    exp.And: _Compiler.conjunction,
    exp.Or: _Compiler.conjunction,
    exp.Is: _Compiler.is_,
    exp.Between: _Compiler.between,
    exp.In: _Compiler.among,
    exp.Like: _Compiler.like,
    exp.ILike: _Compiler.like,
    exp.Escape: _Compiler.like,
    exp.RegexpLike: _Compiler.regular,
    exp.DPipe: _Compiler.joined,
    exp.Cast: _Compiler.cast,
    exp.TryCast: _Compiler.cast,
    exp.Case: _Compiler.case,
    exp.If: _Compiler.choice,
    exp.Anonymous: _Compiler.function,
    exp.Extract: _Compiler.extract,
    exp.Interval: _Compiler.interval,
    exp.StrPosition: _Compiler.position,
    exp.Substring: _Compiler.substring,
    exp.Trim: _Compiler.trim,
}
