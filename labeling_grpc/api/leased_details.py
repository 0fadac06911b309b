"""What is told with cases that are leased: all that helps to decide each, and how far their annotator is."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from labeling_grpc.api import mapping
from labeling_grpc.api.case_details import Details
from labeling_grpc.api.paging import Pages
from labeling_grpc.api.validation import entries
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.message_sizes import MAX_RESPONSE
from labeling_grpc.quality.annotator_metrics import own_agreement
from labeling_grpc.queue.progress import progress
from labeling_grpc.security.caller import Caller
from labeling_grpc.storage.base import Store
from labeling_grpc.v1 import labeling_pb2 as pb

_AROUND: Final = 16
"""Bytes of a field of messages beside the message."""


class LeasedDetails:
    """Adds it to responses. Its methods read the database; call them off the event loop."""

    def __init__(self, details: Details, pages: Pages, store: Store, rules: QueueRules) -> None:
        self._details = details
        self._pages = pages
        self._store = store
        self._rules = rules

    def add(
        self,
        connection: sa.Connection,
        response: pb.LeaseTasksResponse,
        request: pb.LeaseTasksRequest,
        caller: Caller,
    ) -> None:
        """Add what a request asks for, of as many cases as there is room for.

        Args:
            connection: To the queue's database.
            response: With its tasks; written in place.
            request: As checked.
            caller: Who asks.

        Raises:
            RefusedError: A case is gone.

        """
        if request.progress:
            figures = self.progress(connection, request.annotator, caller)
            if figures is not None:
                response.progress.CopyFrom(figures)
        if not request.HasField("details"):
            return
        room, asked = MAX_RESPONSE - response.ByteSize(), entries(request.details)
        for task in response.tasks:
            told, first = self._details.whole(connection, task.case.event_id, asked, caller)
            if first:
                following = pb.GetCaseRequest()
                following.CopyFrom(request.details)
                following.event_id = task.case.event_id
                told.next_page_token = self._pages.token(following, first)
            room -= told.ByteSize() + _AROUND
            if room < 0:
                return
            response.details.append(told)

    def progress(self, connection: sa.Connection, name: str, caller: Caller) -> pb.Progress | None:
        """How far an annotator is.

        Args:
            connection: To the queue's database.
            name: Of the annotator.
            caller: Who asks.

        Returns:
            The figures; None where nobody of this name was ever seen, and it is not the caller.

        """
        clock = self._store.clock
        found = progress(connection, name, clock.wall(), clock.now())
        if not found.known and name != caller.name:
            return None
        figures = mapping.progress(name, found, self._store.counts.waiting)
        own = own_agreement(connection, self._rules, name) if self._rules.several else None
        if own is not None:
            figures.agreement, figures.agreement_low, figures.agreement_high = own.share, own.low, own.high
            figures.agreement_answers = own.answers
        return figures
