"""Keys of the table `meta`."""

from __future__ import annotations

from typing import Final

PUBLISHER: Final = "publisher"
"""Identity of the queue in the headers of what it publishes."""

PUBLISHED: Final = "published"
"""Highest number of the outbox that is known to be in Kafka."""

CLOCK: Final = "clock"
"""The queue's time, µs."""

EVENT_CLOCK: Final = "event_clock"
ASKED_CLOCK: Final = "asked_clock"
REJECTED: Final = "rejected"
"""As `labeling_grpc.commands.labeling.Counts` has them."""

HAS_COMMENTS: Final = "remarked"
"""There once something was said about a case."""

RANKED_BY: Final = "ranked_by"
"""Version of the model that ranks what waits."""

PAUSED: Final = "paused"
"""Why nothing is given out; "" or none while all is."""

ANNOTATORS: Final = "standing"
"""Another value whenever the table `annotators` changes, or the queue is paused or goes on."""

KAFKA: Final = "kafka"
"""A row to lock: what comes from Kafka, and what is marked as being in it, changes in one replica at a time."""
