"""`tidemark broker up|down|status`: the embedded Kafka by itself."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tidemark.broker import BrokerStatus, NodeCount, broker_dir, broker_status, stop_detached
from tidemark.broker.jars import ensure_jars
from tidemark.cli.console import err, out, told
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

app = typer.Typer(help="The embedded Apache Kafka.", no_args_is_help=True, add_completion=False)
NOT_RUNNING = 3


@app.command()
def up(
    nodes: Annotated[
        int | None,
        typer.Option(help="1, or 3 (replication 3, min.insync.replicas 2).", show_default="as before, or 1"),
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C, and stop it then.")] = False,
    new_ports: Annotated[bool, typer.Option("--new-ports", help="Choose other ports than before.")] = False,
) -> None:
    """Start the embedded Kafka. Its data and ports are kept between starts."""
    with told():
        count = _count(nodes)
        settings = Settings.from_environment()
        if settings.bootstrap_servers is not None:
            out.print(
                f"TIDEMARK_BOOTSTRAP_SERVERS names another Kafka ({safe(settings.bootstrap_servers)}): "
                "nothing is started",
                soft_wrap=True,
            )
            return
        _log_to(err)
        _download(settings)
        from tidemark.broker import EmbeddedKafka  # a Kafka client

        kafka = EmbeddedKafka(
            broker_dir(settings), count, settings=settings, detached=not foreground, new_ports=new_ports
        )
        if not foreground:
            kafka.start()
            _show(broker_status(settings))
            return
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with kafka:
            _show(broker_status(settings))
            while not ended.is_set() and kafka.running():
                ended.wait(0.5)
            if not ended.is_set():
                kafka.check()


@app.command()
def down() -> None:
    """Stop the embedded Kafka that `tidemark broker up` started. Its data is kept."""
    with told():
        _log_to(err)
        stopped = stop_detached(Settings.from_environment())
        out.print(f"stopped ({len(stopped)} node(s))" if stopped else "no embedded Kafka is running")


@app.command()
def status() -> None:
    """Show nodes, ports, processes, folder and the line to copy. Exits with 3 if it isn't running."""
    with told():
        settings = Settings.from_environment()
        if settings.bootstrap_servers is not None:
            out.print(
                f"TIDEMARK_BOOTSTRAP_SERVERS names another Kafka ({safe(settings.bootstrap_servers)}); "
                "it is used instead of the embedded one",
                soft_wrap=True,
            )
        found = broker_status(settings)
    _show(found)
    if not found.running:
        raise typer.Exit(NOT_RUNNING)


def _count(nodes: int | None) -> NodeCount | None:
    if nodes is None:
        return None
    if nodes == 1:
        return 1
    if nodes == 3:
        return 3
    raise typer.BadParameter(f"{nodes}: a cluster has 1 node or 3", param_hint="--nodes")


def _log_to(console: Console) -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=False)],
    )


def _download(settings: Settings) -> None:
    columns = (TextColumn("downloading Kafka"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("jars", visible=False, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, visible=True, completed=done, total=total)

        ensure_jars(settings.cache_dir, repository=settings.maven_repository, progress=show)


def _show(found: BrokerStatus) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("node", "port", "process", "state"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for node in found.nodes:
        state = Text("running", "green") if node.pid else Text("not running", "red")
        table.add_row(str(node.id), str(node.port), str(node.pid or "–"), state)
    if found.nodes:
        out.print(table)
    out.print(f"Apache Kafka {found.kafka}, data in {safe(str(found.data_dir))}", soft_wrap=True)
    if found.owner is not None:
        out.print(f"belongs to process {found.owner}, and ends with it")
    if found.running:
        out.print(f"export TIDEMARK_BOOTSTRAP_SERVERS={found.bootstrap_servers}", soft_wrap=True)
    else:
        out.print("not running; `tidemark broker up` starts it")
