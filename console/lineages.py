"""What derives events' lineages for the Why page: one client for all who ask, in a thread of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.loop.kafka import kafka_settings
from tidemark.errors import BrokerError
from tidemark.lineage import Lineage
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from tidemark.lineage import Explainer


@dataclass
class Lineages:
    """Of one pipeline."""

    pipeline: Pipeline
    settings: Settings
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "console-lineage"))
    _explainer: Explainer | None = None

    async def of(self, event: str) -> Lineage:
        """The lineage of an event.

        Args:
            event: its id, or the business's.

        Returns:
            It.

        Raises:
            TidemarkError: nothing is known of it, or Kafka can't be read.

        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._of, event)

    async def close(self) -> None:
        """Leave Kafka."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        self._thread.shutdown()

    def _of(self, event: str) -> Lineage:
        if self._explainer is None:
            from tidemark.lineage import Explainer  # noqa: PLC0415 half a second, which the other pages do not wait for

            self._explainer = Explainer(self.pipeline, kafka_settings(self.settings))
        try:
            return self._explainer.of(event)
        except BrokerError:
            self._leave()  # the next who asks begins with a new client
            raise

    def _leave(self) -> None:
        explainer, self._explainer = self._explainer, None
        if explainer is not None:
            explainer.close()
