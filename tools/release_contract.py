"""Writes down the contract as released: what later changes are compared with. Run when a version is released.

python tools/release_contract.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: E402 - found through the line above
from google.protobuf.json_format import MessageToJson  # noqa: E402

from labeling_grpc.v1 import labeling_pb2  # noqa: E402


def main() -> None:
    """Write `proto/labeling_grpc/v1/released.json`."""
    file = FileDescriptorProto()
    labeling_pb2.DESCRIPTOR.CopyToProto(file)
    file.ClearField("options")
    path = ROOT / "proto" / "labeling_grpc" / "v1" / "released.json"
    path.write_text(MessageToJson(file, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
