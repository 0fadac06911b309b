"""What a hostile browser, page or stranger tries on the console, each a test: how many hold (W8).

The tests are those of the suite. Each is counted: a role at a page, a hostile text in a field of a topic, an address
that a webhook must not reach.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_TESTS: Final = {
    "tests/console/test_security.py": "CSRF, clickjacking, session fixation, open redirects",
    "tests/console/test_routes_matrix.py": "every role at every route and object",
    "tests/console/test_hostile_text.py": "hostile text in every field of every topic, on every page",
    "tests/console/test_provider_pages.py": "the way to the identity provider and back",
    "tests/tidemark/webhooks/test_client.py": "addresses that webhooks must not reach",
    "tests/tidemark/runtime/test_web_addresses.py": "addresses that are not of the web",
}
_QUICK: Final = ("tests/console/test_security.py", "tests/tidemark/runtime/test_web_addresses.py")


def row(*, quick: bool) -> dict[str, Any]:
    """The row W8."""
    files = _QUICK if quick else tuple(_TESTS)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"the tests did not run:\n{done.stdout[-2_000:]}{done.stderr[-1_000:]}")
        cells, failed = _counted(report)
    missed = [file for file in files if not cells[file]]
    detail = {
        "what": "attempts on the console that succeeded, or could not be tried; each attempt is a test",
        "attempts": sum(cells.values()),
        "by": {_TESTS[file]: cells[file] for file in files},
        "failed": failed[:20],
        "without_a_test": missed,
    }
    reached = not failed and not missed and done.returncode == 0
    return {"id": "W8", "value": float(len(failed)), "target": 0.0, "reached": reached, "unit": "attempts",
            "detail": detail}  # fmt: skip


def _counted(report: Path) -> tuple[Counter[str], list[str]]:
    """Tests by their file, and the names of those that failed or were skipped."""
    cells, failed = Counter[str](), []
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest has written it
        cells[f"{case.get('classname', '').replace('.', '/')}.py"] += 1
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped")):
            failed.append(str(case.get("name")))
    return cells, failed
