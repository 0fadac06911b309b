"""Things added to a copy of Tidemark, one of each kind, with nothing but what the kind needs.

Each function is one addition. What it changes is measured by comparing files; `docs/contributing/extending.md` has the
list. Code of the worked examples is taken from that page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outside import OWN_SOURCE, examples

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = (
    *(
        "benchmarks",
        "dataflows",
        "docs",
        "kernels",
        "labeling_grpc",
        "pipelines",
        "prediction_grpc",
        "proto",
        "tests",
        "tidemark",
    ),
    *("tools", "pyproject.toml"),
)
_LEFT_OUT: Final = shutil.ignore_patterns("*.nbi", "*.nbc", "results", "captures", ".hypothesis")


class Copy:
    """A copy of the working tree's code and tests."""

    def __init__(self, folder: Path, names: Sequence[str] = _COPIED) -> None:
        self.folder = folder
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=_LEFT_OUT)
            else:
                shutil.copy2(ROOT / name, folder / name)

    def new(self, path: str, text: str) -> None:
        """Write a file that was not there."""
        file = self.folder / path
        assert not file.exists(), path
        file.write_text(text, encoding="utf-8")

    def after(self, path: str, line: str, added: str) -> None:
        """Add lines behind the only place of a text."""
        self.replaced(path, line, line + added)

    def replaced(self, path: str, old: str, new: str) -> None:
        """Put a text in the place of another one, which is there once."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def contents(self) -> dict[str, bytes]:
        """Every file but what Python compiled, by its path."""
        return {
            file.relative_to(self.folder).as_posix(): file.read_bytes()
            for file in self.folder.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }


@dataclass(frozen=True, slots=True)
class Addition:
    """One thing of a kind.

    Attributes:
        kind: as the first column of the page's table has it.
        add: changes the copy.
        tests: files of tests that run over all things of the kind.
        name: of the thing, by which its tests are told.

    """

    kind: str
    add: Callable[[Copy], None]
    tests: tuple[str, ...]
    name: str


def _strategy(copy: Copy) -> None:
    copy.new(
        "tidemark/strategies/richest.py",
        examples("dearest")["dearest.py"].replace("dearest", "richest").replace('"amount"', '"x"'),
    )


def _time_format(copy: Copy) -> None:
    row = '        "epoch_us": _epoch(1, ("int",), 1e14, 5e15),\n'
    added = '        "epoch_ds": _epoch(100_000, ("int", "float"), 6e9, 5e10),\n'
    copy.after("tidemark/times/time_formats.py", row, added)


def _record_format(copy: Copy) -> None:
    path, text = "tidemark/records/record_formats.py", examples("wire")["wire/records.py"]
    copy.after(path, "from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable\n", "\nimport msgspec\n")
    made = text[text.index("class MessagePack") : text.index("MESSAGE_PACK =")]
    copy.replaced(path, "def _accept(", f"{made}def _accept(")
    copy.replaced(path, '{"json": Json()}', '{"json": Json(), "packed": MessagePack()}')


def _kind_of_file(copy: Copy) -> None:
    text = examples("wire")["wire/files.py"]  # of our own, every exception must be an error for people
    copy.new(
        "tidemark/formats/tabbed_rows.py", text.replace("readline().decode()", 'readline().decode(errors="replace")')
    )
    path = "tidemark/formats/reading.py"
    copy.after(path, "from tidemark.formats.rows import Row, RowFile, Standpoint\n", _TSV_IMPORT)
    copy.replaced(path, '"feather": _arrow}', '"feather": _arrow, "tabbed": Tsv}')


_TSV_IMPORT: Final = "from tidemark.formats.tabbed_rows import Tsv\n"


def _source(copy: Copy) -> None:
    copy.new("tidemark/sources/kinds/sqlrows.py", examples("sqltail", OWN_SOURCE)["sqltail.py"])


def _aggregate(copy: Copy) -> None:
    specs, kernel = "kernels/windows/specs.py", "kernels/windows/_aggregates.py"
    copy.after(specs, '    "min",\n', '    "spread",\n')
    copy.after(
        specs,
        '    "min": AggregateKind("Smallest value."),\n',
        '    "spread": AggregateKind("Largest value less the smallest."),\n',
    )
    copy.after(kernel, '    "min",\n', '    "spread",\n')
    copy.replaced(kernel, "STD, MIN, MAX, LAST", "STD, MIN, SPREAD, MAX, LAST")
    copy.replaced(kernel, '"std", "min", "max"), MOMENTS', '"std", "min", "spread", "max"), MOMENTS')
    copy.after(
        kernel,
        "        out[slots[MAX - SUM]] = high if n > 0 else np.nan\n",
        "    if slots[SPREAD - SUM] >= 0:\n        out[slots[SPREAD - SUM]] = high - low if n > 0 else np.nan\n",
    )
    copy.after("tests/naive.py", '        "min": x.min,\n', '        "spread": lambda: x.max() - x.min(),\n')


def _flow(copy: Copy) -> None:
    copy.new(
        "dataflows/census.py",
        examples("tally")["tally/flow.py"].replace("tally_predictions", "entropy").replace('"tally"', '"census"'),
    )
    copy.after("tidemark/flows.py", "_OWN: Final = (\n", _FLOW)


_FLOW: Final = """    FlowSpec(
        name="census",
        over="dataflows.census:over",
        reads=lambda pipeline: [pipeline.topics.predictions],
        meaning="Predictions to a count.",
    ),
"""


def _metric(copy: Copy) -> None:
    path = "tidemark/monitoring/figures.py"
    copy.after(
        path,
        "METRICS: Final = (\n",
        '    MetricKind("entropy", "nats", "monitor", "outcomes", "Mean entropy of the probabilities."),\n',
    )
    copy.after(
        path,
        '    yield _mean("brier", metrics.squared_errors(truth, probabilities))\n',
        '    yield _mean("entropy", -np.sum(probabilities * np.log(probabilities), axis=1))\n',
    )


def _learner(copy: Copy) -> None:
    copy.new("tidemark/training/learners/stumps.py", _STUMPS)
    copy.after(
        "tidemark/training/learners/family.py",
        "from tidemark.training.learners.linear import LINEAR\n",
        "from tidemark.training.learners.stumps import STUMPS\n",
    )
    copy.after("tidemark/training/learners/family.py", '    "linear": LINEAR,\n', '    "stumps": STUMPS,\n')
    copy.replaced("tidemark/pipeline/model.py", '"linear", "mean", "auto"]', '"linear", "stumps", "mean", "auto"]')


_STUMPS: Final = '''"""Boosted trees of one split."""

from dataclasses import replace

from tidemark.training.learners.member import Member
from tidemark.training.learners.trees import BOOSTED


def _split_once(task):
    return replace(task, params={"num_leaves": 2})


def _fit(x, y, task, weights=None, /):
    return BOOSTED.fit(x, y, _split_once(task), weights)


def _fit_held_out(x, y, task, weights=None, /):
    return BOOSTED.fit_held_out(x, y, _split_once(task), weights)


STUMPS = Member(_fit, _fit_held_out, BOOSTED.slope)
'''


def _function(copy: Copy) -> None:
    copy.after(
        "tidemark/pipeline/sql/functions.py",
        '    "EXP": _of_number(lambda x: x.exp()),\n',
        '    "EXPM1": _of_number(lambda x: x.exp() - 1),\n',
    )
    copy.replaced("docs/reference/expressions.md", "`LOG1P`,", "`LOG1P`, `EXPM1`,")


def _call(copy: Copy) -> None:
    copy.after(
        "proto/labeling_grpc/v1/labeling.proto",
        '    option (google.api.http) = {get: "/v1/pipelines/{pipeline}/progress"};\n  }\n',
        _CALL,
    )
    copy.replaced("proto/labeling_grpc/v1/labeling.proto", "message GetProgressRequest {", _MESSAGES)
    copy.after(
        "labeling_grpc/security/roles.py",
        '    "GetProgress": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.ANY, Scope.OWN),\n',
        '    "CountCases": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),\n',
    )
    copy.replaced("labeling_grpc/queue/queries.py", "def overview(", _QUERY)
    copy.replaced("labeling_grpc/api/labeling.py", "    async def GetProgress(  # noqa: N802\n", _METHOD)
    subprocess.run([sys.executable, "tools/generate_protos.py"], cwd=copy.folder, check=True, timeout=120)


_CALL: Final = """  // How many cases were ever taken in.
  rpc CountCases(CountCasesRequest) returns (CountCasesResponse) {
    option (google.api.http) = {get: "/v1/pipelines/{pipeline}/cases-ever"};
  }
"""
_MESSAGES: Final = """message CountCasesRequest {
  string pipeline = 1;
}

message CountCasesResponse {
  int64 cases = 1;
}

message GetProgressRequest {"""
_QUERY: Final = '''def case_count(connection: sa.Connection) -> int:
    """How many cases were ever taken in."""
    count: int = connection.execute(sa.select(sa.func.count()).select_from(cases)).scalar_one()
    return count


def overview('''
_METHOD: Final = '''    async def CountCases(  # noqa: N802
        self, request: pb.CountCasesRequest, _context: Context
    ) -> pb.CountCasesResponse:
        """How many cases were ever taken in."""
        self._checks.served(request.pipeline)
        return pb.CountCasesResponse(cases=await self._reader.ask(queries.case_count))

    async def GetProgress(  # noqa: N802
'''

_REFERENCE: Final = "tests/docs/test_reference.py"
ADDITIONS: Final = (
    Addition("a selection strategy", _strategy, ("tests/tidemark/strategies/test_strategies.py",), "richest"),
    Addition("a learner", _learner, ("tests/tidemark/training/learners/test_family.py",), "stumps"),
    Addition("a format of records", _record_format, ("tests/tidemark/formats/test_record_formats.py",), "packed"),
    Addition("a kind of file", _kind_of_file, ("tests/tidemark/formats/test_record_formats.py",), "tabbed"),
    Addition("a source", _source, ("tests/tidemark/sources/test_source_kinds.py",), "sqlrows"),
    Addition("a time format", _time_format, ("tests/tidemark/formats/test_times.py",), "epoch_ds"),
    Addition("a SQL function", _function, (_REFERENCE,), "aggregate_and_function"),
    Addition("a metric", _metric, (_REFERENCE,), "metric"),
    Addition("a flow", _flow, ("tests/tidemark/test_flows.py",), "census"),
    Addition("a call that reads the queue", _call, ("tests/labeling_grpc/security/test_security.py",), "CountCases"),
)
"""In the order in which they are added to one copy."""

AGGREGATE: Final = Addition("a window aggregate", _aggregate, (), "spread")
"""In a copy of its own: kernels that are changed would be compiled again for the tests of all others."""
