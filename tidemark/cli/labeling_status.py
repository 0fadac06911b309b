"""What the labeling service tells of itself to `tidemark status`."""

from __future__ import annotations

import socket
from typing import Final

from tidemark.errors import TidemarkError
from tidemark.observe.status_record import LabelingStatus
from tidemark.runtime.settings import Settings

_PATIENCE: Final = 1.0
_CONNECTING: Final = 0.5


def labeling_status(settings: Settings, pipeline: str, model: str) -> LabelingStatus:
    """The queue in numbers, or why they can't be had.

    Args:
        settings: of this installation.
        pipeline: its name.
        model: version that the service said it ranks cases by.

    Returns:
        Within about a second, also where the service is down or refuses to tell.

    """
    from labeling_grpc.options import find

    try:
        address = find(settings, pipeline)
    except TidemarkError:
        return LabelingStatus(reachable=False, problem="no labeling service of this pipeline runs on this machine")
    if not _listens(address):
        return LabelingStatus(
            reachable=False, address=address, problem=f"the labeling service is down: nothing listens at {address}"
        )
    from labeling_grpc.client.labeling import LabelingClient
    from labeling_grpc.client.queue_status import queue_status

    try:
        with LabelingClient(address, "tidemark-status", pipeline=pipeline, timeout=_PATIENCE, patience=0.0) as client:
            stats = client.stats()
    except TidemarkError as error:
        return LabelingStatus(reachable=True, address=address, problem=str(error), model=model)
    return queue_status(stats, address, model)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECTING):
            return True
    except (OSError, ValueError):
        return False
