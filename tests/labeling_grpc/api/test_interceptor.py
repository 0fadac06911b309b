from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import grpc
import pytest

from labeling_grpc.api import interceptor
from labeling_grpc.contract.errors import Reason, RefusedError


class Gone:
    """The context of a call whose caller went away while it was refused."""

    async def abort(self, *_: object, **__: object) -> NoReturn:
        raise grpc.aio.InternalError('Failed "execute_batch"')


def test_a_caller_who_went_away_while_it_was_refused_is_no_bug() -> None:
    refusal = RefusedError(Reason.UNKNOWN_PIPELINE, "no such pipeline")
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interceptor._abort(cast("Any", Gone()), refusal))
