"""Text of an SQL expression to its tree, read by SQLGlot; function calls keep the names that were written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.parser import Parser as _BaseParser
from sqlglot.parser import binary_range_parser
from sqlglot.tokenizer_core import TokenType
from sqlglot.tokens import Tokenizer as _BaseTokenizer

_LONGEST: Final = 10_000
"""Characters of an expression; a longer one is a program, and belongs into a function."""
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_WITH_SYNTAX: Final = ("CAST", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM")
"""Functions whose arguments are not a list of expressions; all others come as they are written."""


class _Parser(_BaseParser):
    FUNCTIONS: ClassVar[dict[str, Callable[..., Any]]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parse for name, parse in _BaseParser.FUNCTION_PARSERS.items() if name in _WITH_SYNTAX
    }
    RANGE_PARSERS: ClassVar[dict[TokenType, Any]] = {
        **_BaseParser.RANGE_PARSERS,
        TokenType.TILDE: binary_range_parser(exp.RegexpLike),
    }


class _Dialect(Dialect):
    parser_class = _Parser  # type: ignore[assignment]

    class Tokenizer(_BaseTokenizer):
        KEYWORDS: ClassVar[dict[str, TokenType]] = {**_BaseTokenizer.KEYWORDS, "//": TokenType.DIV}


@dataclass(frozen=True, slots=True)
class Parsed:
    """An SQL expression. `alias`: what stands behind AS.  `columns`: those it reads, in order, each once."""

    tree: exp.Expression
    alias: str | None
    columns: tuple[str, ...]

    @property
    def column(self) -> str | None:
        """The column that it is, unchanged; None where it is anything else."""
        return self.tree.name if isinstance(self.tree, exp.Column) else None

    @property
    def output_name(self) -> str:
        """Name of what it gives: the alias, or the one column that it reads.

        Raises:
            ValueError: it has no alias and reads several columns, or none.

        """
        if self.alias is not None:
            return self.alias
        if len(self.columns) != 1:
            raise ValueError("it has no name; write '... AS column' behind it")
        return self.columns[0]


@lru_cache(maxsize=1_024)
def parse_sql(sql: str) -> Parsed:
    """Tree of one SQL expression.

    Args:
        sql: the expression, with or without `AS name` behind it.

    Returns:
        The tree, its alias and its columns.

    Raises:
        ValueError: it is no SQL expression, or gives several columns.

    """
    if len(sql) > _LONGEST:
        raise ValueError(f"it has {len(sql)} characters, over the limit of {_LONGEST}; use a function")
    dialect = _Dialect()
    try:
        tokens = dialect.tokenize(sql)
        trees = dialect.parser().parse(tokens, sql)
    except (ParseError, TokenError) as error:
        raise ValueError(f"it is no SQL expression: {_what_is_wrong(error)}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply to be read; split it") from error
    if len(trees) != 1 or trees[0] is None:
        raise ValueError("it is no SQL expression: write exactly one")
    tree = trees[0]
    if not isinstance(tree, exp.Expression):
        raise ValueError("it is no SQL expression: it is a statement")  # noqa: TRY004 - a setting
    alias = None
    if isinstance(tree, exp.Alias):
        if len(tokens) < 3 or tokens[-2].token_type != TokenType.ALIAS:
            raise ValueError(f"it is no SQL expression: '{tokens[-1].text}' follows without an operator")
        alias, tree = tree.alias, tree.this
    elif tokens[-1].token_type == TokenType.ALIAS:
        raise ValueError("it is no SQL expression: there is no name behind AS")
    names = [column.name for column in tree.find_all(exp.Column, bfs=False)]
    return Parsed(tree, alias, tuple(dict.fromkeys(names)))


def _what_is_wrong(error: ParseError | TokenError) -> str:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        near = f"{first.get('highlight') or ''}".strip()
        text = f"{first.get('description') or 'it can not be read'}".rstrip(".")
        return f"{text} at '{near}'" if near else text
    return _ANSI.sub("", str(error)).splitlines()[0]
