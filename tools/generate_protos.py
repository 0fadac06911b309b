"""Generate the modules of each contract in proto/: `python tools/generate_protos.py`, or `--check` to compare only.

The path of the .proto mirrors its package, so what protoc writes is imported as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LABELING, PREDICTION = Path("labeling_grpc/v1"), Path("prediction_grpc/v1")
PACKAGES = (LABELING, PREDICTION)
SOURCES = (
    "labeling_grpc/v1/labeling.proto",
    "labeling_grpc/v1/admin.proto",
    "prediction_grpc/v1/prediction.proto",
)
DESCRIPTION = LABELING / "openapi.json"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def generate(target: Path) -> None:
    """Write the modules and stubs of every .proto, and the description of the labeling calls over REST, below `target`.

    Raises:
        RuntimeError: protoc refuses a source; its message is on stderr.

    """
    sys.path.insert(0, str(ROOT))
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # noqa: PLC0415 - as the next
    from google.rpc import status_pb2  # noqa: PLC0415 - as the next
    from grpc_tools import protoc  # noqa: PLC0415 - a development package, which --help can do without

    from tools.openapi import openapi  # noqa: PLC0415 - the same

    target.mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-I{ROOT / 'proto'}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"-I{Path(status_pb2.__file__).parents[2]}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        "--include_source_info",
        f"--descriptor_set_out={target / 'contract'}",
        *(f"--plugin={plugin}={Path(sys.executable).with_name(plugin)}" for plugin in PLUGINS),
        *SOURCES,
    ]
    code = protoc.main(arguments)
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}; see its message above")
    contract = FileDescriptorSet.FromString((target / "contract").read_bytes())
    (target / "contract").unlink()
    labeling = FileDescriptorSet(file=[file for file in contract.file if file.package == "labeling_grpc.v1"])
    described = json.dumps(openapi(labeling), indent=1, ensure_ascii=False)
    (target / DESCRIPTION).write_text(described + "\n", encoding="utf-8")


def differences(root: Path = ROOT) -> list[str]:
    """Names of generated files that are missing, left over or differ from what proto/ gives now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.name: path.read_text() for package in PACKAGES for path in (Path(folder) / package).iterdir()}
    committed = {
        path.name: path.read_text()
        for package in PACKAGES
        for path in (root / package).iterdir()
        if path.suffix in {".py", ".pyi", ".json"} and path.name != "__init__.py"
    }
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main() -> int:
    """Generate, or with --check say what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something is out of date")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    stale = differences()
    for name in stale:
        print(f"{name} is out of date: run python tools/generate_protos.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
