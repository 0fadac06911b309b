"""The contract keeps to the style of the other one."""

from __future__ import annotations

from contract import unstyled
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from prediction_grpc.v1 import prediction_pb2


def test_the_contract_keeps_to_its_style() -> None:
    file = FileDescriptorProto()
    prediction_pb2.DESCRIPTOR.CopyToProto(file)
    assert unstyled(file) == []
