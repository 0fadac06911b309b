"""A question is asked again while brokers change their roles, and no longer than it was given."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from tidemark.kafka.passing import PASSING, asked_until


def failing(codes: Iterator[int]) -> str:
    """Fails with each code once, then answers."""
    code = next(codes, None)
    if code is not None:
        raise KafkaException(KafkaError(code))
    return "answer"


def test_what_passes_is_asked_again_until_it_is_answered() -> None:
    codes = iter(PASSING)
    assert asked_until(time.monotonic() + 60, lambda: failing(codes)) == "answer"


def test_what_does_not_pass_is_raised_at_once() -> None:
    codes = iter([KafkaError.GROUP_AUTHORIZATION_FAILED])
    with pytest.raises(KafkaException, match="authori"):
        asked_until(time.monotonic() + 60, lambda: failing(codes))
    assert next(codes, None) is None


def test_what_has_not_passed_at_the_deadline_is_raised() -> None:
    codes = iter([KafkaError.NOT_COORDINATOR] * 2)
    with pytest.raises(KafkaException):
        asked_until(time.monotonic() - 1, lambda: failing(codes))
    assert next(codes) == KafkaError.NOT_COORDINATOR
