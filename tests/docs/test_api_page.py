"""The commands of docs/how-to/api.md are run as they are written, and answer what the page shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from console_world import fraud_cases, fraud_pipeline, world

from labeling_grpc.security.roles import Role

PAGE: Final = (Path(__file__).parents[2] / "docs" / "how-to" / "api.md").read_text(encoding="utf-8")
PAIRS: Final = re.findall(r"^```sh\n(.*?)^```\n\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def unlike(shown: Any, told: Any, where: str = "$") -> list[str]:  # noqa: ANN401 - JSON
    """What of the page's answer the real one lacks: names are compared, and kinds of values."""
    if isinstance(shown, dict) and isinstance(told, dict):
        missing = [f"{where}.{name}" for name in shown if name not in told]
        return missing + [
            each for name in shown if name in told for each in unlike(shown[name], told[name], f"{where}.{name}")
        ]
    if isinstance(shown, list) and isinstance(told, list):
        return unlike(shown[0], told[0], f"{where}[0]") if told else [f"{where} is empty"]
    return [] if type(shown) is type(told) else [f"{where}: {told!r}"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_answer_what_it_shows(tmp_path: Path) -> None:
    assert len(PAIRS) >= 6
    with world(tmp_path, fraud_pipeline(), tokens=True) as its:
        token = its.token(Role.PROGRAM, "billing")
        its.take_in(*fraud_cases().candidates[:3])
        lease: dict[str, str] = {}
        for command, shown in PAIRS:
            for old, new in {
                "http://127.0.0.1:8420": its.url,
                "TOKEN=TOKEN": f"TOKEN={token}",
                **lease,
            }.items():
                command = command.replace(old, new)  # noqa: PLW2901 - as the reader does
            env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "TIDEMARK_LABELING_TOKEN": token}
            done = subprocess.run(
                ["/bin/bash", "-euc", command], env=env, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            told = json.loads(done.stdout.splitlines()[0] if "/labels" in command else done.stdout)
            assert unlike(json.loads(shown), told) == [], command
            for task in told.get("tasks", ()):
                lease = {"EVENT_ID": task["case"]["event_id"], "LEASE_TOKEN": task["lease_token"]}
