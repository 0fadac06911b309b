from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from contract import breaking, breaking_any, unstyled
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import Parse

from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb

ROOT = Path(__file__).resolve().parents[3]
RELEASED = ROOT / "proto" / "labeling_grpc" / "v1" / "released.json"


FILES = (pb, admin_pb2)


def current(module: ModuleType = pb) -> FileDescriptorProto:
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def contract() -> FileDescriptorSet:
    return FileDescriptorSet(file=[current(module) for module in FILES])


def released() -> FileDescriptorSet:
    return Parse(RELEASED.read_text(encoding="utf-8"), FileDescriptorSet())


def test_clients_of_the_released_contract_can_go_on() -> None:
    assert released().file[0].name == "labeling_grpc/v1/labeling.proto"
    assert breaking_any(released(), contract()) == []


def test_a_file_that_is_gone_is_found() -> None:
    assert breaking_any(contract(), FileDescriptorSet(file=[current(pb)])) == [
        "file labeling_grpc/v1/admin.proto is gone"
    ]


@pytest.mark.parametrize("module", FILES)
def test_the_contract_keeps_to_its_style(module: ModuleType) -> None:
    assert unstyled(current(module)) == []


def test_a_release_writes_down_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("release_contract", ROOT / "tools/release_contract.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    (tmp_path / "proto/labeling_grpc/v1").mkdir(parents=True)
    tool.main()
    written = Parse((tmp_path / "proto/labeling_grpc/v1/released.json").read_text("utf-8"), FileDescriptorSet())
    assert [file.name for file in written.file] == [module.DESCRIPTOR.name for module in FILES]
    assert breaking_any(written, contract()) == breaking_any(contract(), written) == []


def message(file: FileDescriptorProto, name: str) -> int:
    return next(index for index, its in enumerate(file.message_type) if its.name == name)


def _without_field(file: FileDescriptorProto) -> None:
    del file.message_type[message(file, "Task")].field[1]


def _renumbered(file: FileDescriptorProto) -> None:
    file.message_type[message(file, "Task")].field[1].number = 99


def _another_type(file: FileDescriptorProto) -> None:
    file.message_type[message(file, "Task")].field[1].type = FieldDescriptorProto.TYPE_BYTES


def _without_presence(file: FileDescriptorProto) -> None:
    file.message_type[message(file, "Case")].field[1].proto3_optional = False


def _out_of_its_oneof(file: FileDescriptorProto) -> None:
    file.message_type[message(file, "Value")].field[0].ClearField("oneof_index")


def _without_message(file: FileDescriptorProto) -> None:
    del file.message_type[message(file, "Task")]


def _without_method(file: FileDescriptorProto) -> None:
    del file.service[0].method[0]


def _now_a_stream(file: FileDescriptorProto) -> None:
    file.service[0].method[0].server_streaming = True


def _renamed_enum_value(file: FileDescriptorProto) -> None:
    file.enum_type[0].value[1].name = "REASON_OTHER"


def _renamed_nested_enum_value(file: FileDescriptorProto) -> None:
    file.message_type[message(file, "CaseEvent")].enum_type[0].value[1].name = "KIND_OTHER"


def _another_package(file: FileDescriptorProto) -> None:
    file.package = "labeling_grpc.v2"


BREAKS: dict[str, Callable[[FileDescriptorProto], None]] = {
    "field Task.lease_token (2) is gone": _without_field,
    "field Task.lease_token (2) is gone (renumbered)": _renumbered,
    "field Task.lease_token (2): type changed": _another_type,
    "field Case.business_id (2): proto3_optional changed": _without_presence,
    "field Value.text (1): oneof changed": _out_of_its_oneof,
    "message Task is gone": _without_message,
    "method LabelingService.LeaseTasks is gone": _without_method,
    "method LabelingService.LeaseTasks: server_streaming changed": _now_a_stream,
    "enum value Reason.REASON_EXPLORE (1) is gone": _renamed_enum_value,
    "enum value CaseEvent.Kind.KIND_ADDED (1) is gone": _renamed_nested_enum_value,
    "package labeling_grpc.v1 became labeling_grpc.v2": _another_package,
}


@pytest.mark.parametrize("told", BREAKS)
def test_a_change_that_breaks_clients_is_found(told: str) -> None:
    changed = copy.deepcopy(current())
    BREAKS[told](changed)
    (found,) = breaking(current(), changed)
    assert found.startswith(told.removesuffix(" (renumbered)"))


def test_an_addition_breaks_nobody() -> None:
    changed = copy.deepcopy(current())
    changed.message_type[0].field.add(name="more", number=77, type=9)
    changed.message_type.add(name="More")
    changed.service[0].method.add(
        name="More", input_type=".labeling_grpc.v1.More", output_type=".labeling_grpc.v1.More"
    )
    changed.enum_type[0].value.add(name="REASON_MORE", number=77)
    assert breaking(current(), changed) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: setattr(file.message_type[0].field[0], "name", "camelCase"), "field Value.camelCase"),
        (lambda file: setattr(file.message_type[0], "name", "snake_case"), "message snake_case"),
        (lambda file: setattr(file.enum_type[0].value[0], "name", "REASON_NONE"), "enum Reason begins with"),
        (lambda file: setattr(file.enum_type[0].value[1], "name", "EXPLORE"), "enum value EXPLORE"),
        (lambda file: setattr(file.service[0], "name", "Labels"), "service Labels"),
        (lambda file: setattr(file, "package", "labeling_grpc"), "is not in the folder of its package"),
    ],
)
def test_what_is_against_the_style_is_found(change: Callable[[FileDescriptorProto], None], told: str) -> None:
    changed = copy.deepcopy(current())
    change(changed)
    assert any(told in sentence for sentence in unstyled(changed)), unstyled(changed)
