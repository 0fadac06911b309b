"""The generated reference is complete: all that the code has is in it, and each has its meaning."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

from bytewax.dataflow import Dataflow, Operator

import kernels
from kernels.windows.specs import AGGREGATES, KINDS
from labeling_grpc.v1 import admin_pb2, labeling_pb2
from prediction_grpc.v1 import prediction_pb2
from tidemark.flows import FLOWS
from tidemark.observe.catalog import metrics
from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.sql.functions import ALIASES, FUNCTIONS
from tools.reference import GENERATED
from tools.reference.cli import commands
from tools.reference.contract import described
from tools.reference.flows import flows
from tools.reference.kernels import is_value, used_by
from tools.reference.pipeline import is_number, sections, unit_of
from tools.reference.python_api import PUBLIC

_ROOT = Path(__file__).parents[2]
_MAKERS = {"Metric", "Figure", "_metric", "_stream_metric"}
"""What is called with the name of a metric."""


def _page(name: str) -> str:
    return GENERATED[f"reference/{name}.md"]()


def test_every_key_of_the_pipeline_file_is_on_its_page_with_what_it_means() -> None:
    page, models = _page("pipeline"), {model: heading for heading, model in sections()}
    reachable = set(re.findall(r"#/\$defs/(\w+)", str(Pipeline.model_json_schema()).replace("'", '"')))
    assert reachable == {model.__name__ for model in models} - {"Pipeline"}
    for model, heading in models.items():
        assert model is Pipeline or f"## `{heading}`" in page
        section = page.partition(f"## `{heading}`" if heading else "## Top of the file")[2].partition("\n## ")[0]
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no docstring below it"
            assert f"| `{name}` |" in section or f"[{name}" in page, (model, name)


def test_every_number_of_the_pipeline_file_has_its_unit() -> None:
    """A duration's is written in the file itself."""
    numbers = {
        f"{model.__name__}.{name}": field
        for _, model in sections()
        for name, field in model.model_fields.items()
        if is_number(field)
    }
    assert len(numbers) > 15
    assert [name for name, field in numbers.items() if not unit_of(field)] == [], (
        'tidemark/pipeline/model.py: write Annotated[..., Unit("labels")]'
    )


def test_every_table_of_the_reference_has_a_meaning_in_each_row() -> None:
    """But for the contract's fields, whose name may say all."""
    for path, page in GENERATED.items():
        if "grpc" not in path:
            assert [line for line in page().splitlines() if re.search(r"\|\s+\|$", line)] == [], path


def test_every_command_with_every_option_is_on_its_page() -> None:
    page = _page("cli")
    for name, command in commands():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)
            shown = (
                parameter.opts[0] if parameter.param_type_name == "option" else (parameter.metavar or parameter.name)
            )
            assert parameter.hidden or shown.strip("-{}.").lower() in section.lower(), (name, shown)


def test_every_flow_is_drawn_with_each_of_its_steps_and_streams() -> None:
    page = _page("flows")
    assert set(flows()) == {*FLOWS.own, "ingest"}
    for name, flow in flows().items():
        section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert flow.substeps, name
        for step in flow.substeps:
            assert f">{step.step_name}</text>" in section
            assert f">{type(step).__name__}</text>" in section
        (drawn,) = re.findall(r"<svg.*</svg>", section)
        streams = [(_made_by(flow, stream), step.step_id) for step in flow.substeps for stream in _read_by(step)]
        assert drawn.count("<path ") == len(set(streams))


def _read_by(step: Operator) -> list[str]:
    return [stream for name in step.ups_names for stream in getattr(step, name).stream_ids.values()]


def _made_by(flow: Dataflow, stream: str) -> str:
    """The step that a stream leaves."""
    made = [
        step.step_id
        for step in flow.substeps
        for name in step.dwn_names
        if stream in getattr(step, name).stream_ids.values()
    ]
    assert len(made) == 1
    return made[0]


def test_every_call_message_and_value_of_the_contract_is_on_its_page() -> None:
    page = _page("grpc")
    for module in (labeling_pb2, admin_pb2, prediction_pb2):
        file = module.DESCRIPTOR
        for service in file.services_by_name.values():
            assert f"## {service.name}\n" in page
            assert [method.name for method in service.methods if f"| `{method.name}` |" not in page] == []
        for message in file.message_types_by_name.values():
            section = page.partition(f"### {message.name}\n")[2].partition("\n### ")[0]
            assert [field.name for field in message.fields if f"| `{field.name}` |" not in section] == []
        for enum in file.enum_types_by_name.values():
            assert [value.name for value in enum.values if f"| `{value.name}` |" not in page] == []


def test_every_call_of_the_contract_says_what_it_does() -> None:
    for file in described().file:
        said = {tuple(each.path) for each in file.source_code_info.location if each.leading_comments}
        for index, service in enumerate(file.service):
            assert [method.name for n, method in enumerate(service.method) if (6, index, 2, n) not in said] == []


def test_every_metric_that_the_code_writes_is_in_the_catalog_and_no_other() -> None:
    written = _names_of_metrics()
    catalog = set(metrics().own)
    literal = {name for name in written if "{" not in name}
    assert literal - catalog == set()
    patterns = [re.compile(re.sub(r"\{[^}]*\}", r"\\w+", name)) for name in written if "{" in name]
    texts = {text for text in _texts_of_code() if text in catalog}
    assert {name for name in catalog - texts if not any(pattern.fullmatch(name) for pattern in patterns)} == set()


def test_every_aggregate_and_function_is_on_its_page() -> None:
    assert KINDS.keys() == set(AGGREGATES)
    assert [name for name in AGGREGATES if f"| `{name}` |" not in _page("aggregates")] == []
    page = _page("functions")
    assert [name for name in {*FUNCTIONS, *ALIASES} if f"`{name}`" not in page] == []
    by_hand = (_ROOT / "docs" / "reference" / "expressions.md").read_text(encoding="utf-8")
    assert [name for name in FUNCTIONS if not re.search(rf"\b{name}\b", by_hand)] == []


def test_every_kernel_is_on_its_page_in_one_of_two_lists() -> None:
    called, _, unused = _page("kernels").partition("## Kernels that no flow calls")
    users = used_by()
    assert users.keys() == set(kernels.__all__)
    assert {name for name in users if f"| `{name}` |" in called} == {name for name in users if users[name]}
    assert {name for name in users if f"| `{name}` |" in unused} == {
        name for name in users if not users[name] and not is_value(name)
    }
    assert "tidemark.strategies.badge" in users["badge"]


def test_every_name_of_the_python_api_is_there_and_documented() -> None:
    for module, names in PUBLIC.values():
        for name in names:
            assert getattr(importlib.import_module(module), name).__doc__, name


@cache
def _trees() -> list[ast.AST]:
    folders = ("tidemark", "dataflows")
    files = [path for folder in folders for path in (_ROOT / folder).rglob("*.py")]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in files]


def _names_of_metrics() -> set[str]:
    """What `Metric(name=...)` and helpers named like it are called with, where that is written there."""
    found = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _MAKERS:
                names = [each.value for each in node.keywords if each.arg == "name"] or node.args[:1]
                found |= {_text(name) for name in names} - {""}
    return found


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)[2:-1] if isinstance(node, ast.JoinedStr) else ""


def _texts_of_code() -> set[str]:
    """But for those that declare a metric, which is not to write it."""
    nodes = [node for tree in _trees() for node in ast.walk(tree)]
    declared = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "MetricKind"]
    left_out = {id(argument) for call in declared for argument in call.args}
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in left_out}
    return {text for text in texts if isinstance(text, str)}
