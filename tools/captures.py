"""Draws docs/assets/captures: what the commands show in a terminal, from made-up cases, the same at each run.

`python tools/captures.py` writes them; a test compares what is committed with what the programs show now.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, cast

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402 - found through the line above
from rich.terminal_theme import TerminalTheme  # noqa: E402
from rich.text import Text  # noqa: E402

from labeling_grpc.client import (  # noqa: E402
    AsyncLabelingClient,
    CaseDetails,
    CaseRecord,
    Comment,
    Contribution,
    History,
    HistoryPoint,
    SimilarCase,
    Stats,
    Task,
)
from labeling_grpc.client.values import Case  # noqa: E402
from tidemark.cli.doctor import table_of  # noqa: E402
from tidemark.cli.examination import Finding  # noqa: E402
from tidemark.cli.sitting.layout import Look, compose  # noqa: E402
from tidemark.cli.sitting.sitting import Sitting  # noqa: E402
from tidemark.errors import TidemarkError  # noqa: E402
from tidemark.pipeline.loading import parse  # noqa: E402

FOLDER: Final = ROOT / "docs" / "assets" / "captures"
_COLUMNS: Final = 80
_LINES: Final = 24
_THEME: Final = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
_DAY: Final = 86_400_000_000
_START: Final = 1_604_214_000_000_000


def captures() -> dict[str, str]:
    """Every picture, an SVG, by its name."""
    return {
        "doctor": _svg(_doctor(), "tidemark doctor"),
        "check": _svg(_check(), "tidemark check payments.toml"),
        "label": _svg(_label(Look()), "tidemark label payments.toml"),
        "label-more": _svg(_label(Look(page="more")), "tidemark label payments.toml: Tab"),
        "label-help": _svg(_label(Look(page="help")), "tidemark label payments.toml: ?"),
    }


def _svg(lines: Iterable[str], title: str) -> str:
    """A terminal as a picture that needs nothing beside it."""
    console = Console(width=_COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="standard")
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    drawn = console.export_svg(title=title, theme=_THEME, unique_id="capture")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # fetched from elsewhere
    drawn = re.sub(r"<!--.*?-->\s*", "", drawn, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in drawn.replace("Fira Code", "ui-monospace").splitlines()) + "\n"


def _case() -> Task:
    return Task(
        event_id="payments-2-48113-0a1b2c3d",
        business_id="T-482113",
        key="C-1067",
        time=_START,
        reason="uncertain",
        priority=0.9,
        context={"customer_id": "C-1067", "terminal_id": "P-311", "amount": 412.5, "channel": "online"},
        features={
            "amount": 412.5,
            "hour": 3.25,
            "night": 1.0,
            "channel": 2.0,
            "customer_count_1d": 9.0,
            "customer_mean_7d": 38.25,
            "customer_since_last": 74.0,
            "terminal_count_1h": 31.0,
            "terminal_mean_1d": 402.75,
        },
        probabilities=(0.46, 0.54),
        uncertainty=0.92,
        model="v000118-3f9a0c52",
        expires_at=None,
        policy="badge-1",
        tile=1,
        segment="",
        skill="",
        hidden_columns=(),
        categories={"channel": "online"},
        token="",
        lease_expires_at=0,
        leases=1,
        review=False,
        comments=(Comment("ben", "the same terminal as yesterday's three", _START),),
        question="Is this payment fraudulent?",
        classes=("legitimate", "fraud"),
        positive="fraud",
    )


def _details(task: Task) -> CaseDetails:
    case = Case(**{name: getattr(task, name) for name in Case.__dataclass_fields__})
    return CaseDetails(
        record=CaseRecord(case, "leased", "ada", None, None, 0, review=False),
        comments=task.comments,
        history=History.of(
            (
                HistoryPoint("a", _START - 9 * _DAY, {}, "legitimate", 0.03),
                HistoryPoint("b", _START - 2 * _DAY, {}, None, 0.21),
            )
        ),
        contributions=(
            Contribution("terminal_count_1h", 31.0, 1.42),
            Contribution("customer_count_1d", 9.0, 0.77),
            Contribution("customer_since_last", 74.0, 0.41),
            Contribution("terminal_mean_1d", 402.75, -0.33),
        ),
        base_score=-2.1,
        contributions_model="v000124-9be14d07",
        similar=(
            SimilarCase("c", "fraud", 0.31, dict(task.features) | {"amount": 398.0}, _START - _DAY),
            SimilarCase("d", "legitimate", 0.74, dict(task.features) | {"terminal_count_1h": 4.0}, _START - 4 * _DAY),
        ),
        answers=(),
        current_probabilities=(0.33, 0.67),
    )


def _label(look: Look) -> list[str]:
    sitting = Sitting(cast("AsyncLabelingClient", None))
    sitting.task = _case()
    sitting.details, sitting.comments = _details(sitting.task), list(sitting.task.comments)
    sitting.answered, sitting.skipped = 12, 1
    sitting.stats = Stats(
        "payments", 3, 14, 1, 12, 1, 0, 0, 0, 0, 0, "", "", sitting.task.question, sitting.task.classes, {},
        ranked_by="v000124-9be14d07",
    )  # fmt: skip
    sitting.notice = "T-482090: legitimate   (z undoes it)" if look.page == "case" else ""
    return compose(sitting, look, _COLUMNS, _LINES)


def _doctor() -> list[str]:
    findings = [
        Finding("python", "ok", "3.11.7"),
        Finding("packages", "ok", "23, among them bytewax 0.21.1, polars 2.1.0"),
        Finding(
            "environment",
            "wrong",
            "nothing reads TIDEMARK_BOOTSTRAP_SERVER: did you mean TIDEMARK_BOOTSTRAP_SERVERS?",
            "correct its name, or unset it",
        ),
        Finding(
            "kafka", "note", "the embedded one does not run", "`tidemark up FILE` or `tidemark broker up` starts it"
        ),
        Finding("disk", "ok", "79.1 GB free for /home/ada/.local/share/tidemark"),
        Finding("clock", "ok", "2026-11-29 11:47:35 UTC, kept right by the system"),
    ]
    console = Console(width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(table_of(findings))
    return capture.get().splitlines()


def _check() -> list[str]:
    """What somebody is told who has misspelt two keys."""
    text = (ROOT / "pipelines" / "fraud.toml").read_text(encoding="utf-8")
    text = text.replace("\npositive =", "\npostive =").replace('size = "1h"', 'size = "1 hour"', 1)
    console = Console(width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as capture:
        try:
            parse(text, "payments.toml")
        except TidemarkError as error:
            console.print(Text.assemble(("error", "bold red"), " ", str(error)))
    return capture.get().splitlines()


def main(folder: Path = FOLDER, show: Callable[[str], None] = print) -> None:
    """Write them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in captures().items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
        show(f"{folder / name}.svg")


if __name__ == "__main__":
    main()
