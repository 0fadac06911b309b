from __future__ import annotations

import importlib.util
import re
import shutil
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from labeling_grpc.contract.errors import Reason
from labeling_grpc.v1 import labeling_pb2 as pb

ROOT = Path(__file__).resolve().parents[3]
PROTO = ROOT / "proto/labeling_grpc/v1/labeling.proto"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_protos", ROOT / "tools/generate_protos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_code_is_what_the_contract_gives(tool: ModuleType) -> None:
    assert tool.differences() == [], "run python tools/generate_protos.py"


def test_an_edited_or_missing_module_is_found(tool: ModuleType, tmp_path: Path) -> None:
    for package in ("labeling_grpc/v1", "prediction_grpc/v1"):
        shutil.copytree(ROOT / package, tmp_path / package)
    edited = tmp_path / "labeling_grpc/v1/labeling_pb2.py"
    edited.write_text(edited.read_text() + "\n")
    (tmp_path / "labeling_grpc/v1/labeling_pb2_grpc.py").unlink()
    assert tool.differences(tmp_path) == ["labeling_pb2.py", "labeling_pb2_grpc.py"]


def test_every_reason_of_a_refusal_is_in_the_contract() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }
    assert contract == set(Reason.__members__)
    assert all(Reason(name).value == name for name in contract)


def test_every_field_enum_and_call_of_the_contract_is_documented_or_says_it_by_its_name() -> None:
    lines = PROTO.read_text().splitlines()
    bare = [
        line.strip()
        for before, line in pairwise(lines)
        if re.match(r"\s*(rpc|message|enum|service) ", line)
        and not before.strip().startswith("//")
        and not re.match(r"message \w+(Request|Response|Result) ", line)
    ]
    assert bare == []


def test_the_contract_follows_bufs_standard_names() -> None:
    service = pb.DESCRIPTOR.services_by_name["LabelingService"]
    for method in service.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"
    assert pb.DESCRIPTOR.package == "labeling_grpc.v1"
    enums = [*pb.DESCRIPTOR.enum_types_by_name.values(), pb.CaseEvent.Kind.DESCRIPTOR]
    for enum in enums:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        assert enum.values[0].name == f"{prefix}_UNSPECIFIED"
        assert all(value.name.startswith(f"{prefix}_") for value in enum.values)
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", field.name) for field in message.fields)
