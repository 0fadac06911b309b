"""SQL expressions of a pipeline file, compiled to Polars of whole numbers and float64.

SQLGlot reads the text; the meaning of every operator and function is written down here. What is not written down is
refused, so no function can compute in a type that wraps or rounds.
"""

from tidemark.pipeline.sql.compiler import Compiled, compile_sql
from tidemark.pipeline.sql.parsing import Parsed, parse_sql

__all__ = ["Compiled", "Parsed", "compile_sql", "parse_sql"]
