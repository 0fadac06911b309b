from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_PACKAGES = ("dataflows", "kernels", "labeling_grpc", "tidemark")
_STUBBED = sorted(
    stub.parent.relative_to(_ROOT).as_posix().replace("/", ".")
    for package in _PACKAGES
    for stub in (_ROOT / package).rglob("__init__.pyi")
    if "v1" not in stub.parts
)


@pytest.mark.parametrize("package", _STUBBED)
def test_a_package_has_every_name_of_its_stub(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


@pytest.mark.parametrize("package", [*_STUBBED, "tidemark.broker", "tidemark.simulators", "tidemark.strategies"])
def test_a_package_with_lazy_names_imports_neither_numbers_nor_clients_by_itself(package: str) -> None:
    script = f"""
import sys
import {package}
print(*sorted({{"asyncio", "bytewax", "confluent_kafka", "numba", "numpy", "polars"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_ROOT)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", _STUBBED)
def test_a_name_that_a_package_does_not_have_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        importlib.import_module(package).nothing_like_it  # noqa: B018
