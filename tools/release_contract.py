"""Writes down the contract as released: what later changes are compared with. Run when a version is released.

python tools/release_contract.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from google.protobuf.descriptor_pb2 import FileDescriptorSet  # noqa: E402 - found through the line above
from google.protobuf.json_format import MessageToJson  # noqa: E402

from labeling_grpc.v1 import admin_pb2, labeling_pb2  # noqa: E402


def main() -> None:
    """Write `proto/labeling_grpc/v1/released.json`."""
    contract = FileDescriptorSet()
    for module in (labeling_pb2, admin_pb2):
        file = contract.file.add()
        module.DESCRIPTOR.CopyToProto(file)
        file.ClearField("options")
    path = ROOT / "proto" / "labeling_grpc" / "v1" / "released.json"
    path.write_text(MessageToJson(contract, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
