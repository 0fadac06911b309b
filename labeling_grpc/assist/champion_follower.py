"""The pipeline's model in force, for whoever ranks or explains cases. While there is none, it costs next to nothing."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from labeling_grpc.kafka.partitions import bounds, connected, sources
from labeling_grpc.storage.group_commit import Stopping
from tidemark.errors import TidemarkError
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from tidemark.registry.follower import ModelWatcher
    from tidemark.registry.serving import ActiveModel

_LOOK_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Champion:
    """Follows `P.models` in a thread of its own, from when there is something in it.

    A model passes the checks that it passes before it predicts (`tidemark.registry`); one that does not is not used.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._current: ActiveModel | None = None
        self._watcher: ModelWatcher | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labeling-champion", daemon=True)

    def start(self) -> None:
        """Begin to look for a model."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Look no more. A thread that waits for Kafka ends with the process."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def current(self) -> ActiveModel | None:
        """The model in force, as far as is known; None before the first. Never waits."""
        watcher = self._watcher
        if watcher is not None:
            with contextlib.suppress(TidemarkError):  # told, and begun anew, by the thread
                self._current = watcher.current() or self._current
        return self._current

    def _run(self) -> None:
        logged = ""
        while not self._stop.is_set():
            try:
                self._follow()
            except Stopping:
                return
            except (KafkaException, TidemarkError) as error:
                if str(error) != logged:  # once, not at each try
                    log.warning("no model ranks cases or explains them until it can be read: %s", error)
                logged = str(error)
            self._stop.wait(_AGAIN_SECONDS)

    def _follow(self) -> None:
        client = connected(self._settings, self._stop)
        topic = self._pipeline.topics.models
        while not any(low < end for low, end in (bounds(client, source) for source in sources(client, topic))):
            if self._stop.wait(_LOOK_SECONDS):
                return
        # The kernels, and what checks a model, are a hundred MB that a service without one does without.
        from tidemark.registry.follower import ModelWatcher  # noqa: PLC0415
        from tidemark.registry.signature import signing_key  # noqa: PLC0415

        with ModelWatcher(self._settings, self._pipeline, secret=signing_key(), flow="labeling") as watcher:
            self._watcher = watcher
            try:
                while not self._stop.wait(_LOOK_SECONDS):
                    watcher.current()
            finally:
                self.current()
                self._watcher = None
