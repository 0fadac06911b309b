"""An alarm that select and retrain follow is read like a stranger's record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ModelError
from tidemark.registry import signature
from tidemark.registry.alarm import ALARM_KEY, Alarm, alarm_record, read_alarm
from tidemark.registry.codec import Registry

ALARM = Alarm(name="quality_fell", at=1_700_000_000_000_000)
SECRET = b"sixteen bytes or more"


@pytest.mark.parametrize("secret", [None, SECRET])
def test_an_alarm_comes_back_as_it_was_written_and_models_are_read_past_it(secret: bytes | None) -> None:
    record = alarm_record("p.models", ALARM, secret)
    assert read_alarm(record.value, list(record.headers), secret) == ALARM
    assert read_alarm(None, [], secret) is None
    assert not Registry(secret).feed(record.key, record.value, list(record.headers))


@pytest.mark.parametrize("value", [b"", b"{}", b'{"name":"x","at":1}', b'{"name":"quality_fell","at":-1}'])
def test_an_alarm_that_we_would_not_write_is_refused(value: bytes) -> None:
    with pytest.raises(ModelError, match="an alarm is refused"):
        read_alarm(value, [(signature.HEADER, signature.digest(ALARM_KEY, value, None))], None)


@pytest.mark.parametrize(("given_by", "wanted"), [(None, SECRET), (SECRET, None), (b"another, as long", SECRET)])
def test_an_alarm_of_somebody_without_the_key_is_refused(given_by: bytes | None, wanted: bytes | None) -> None:
    record = alarm_record("p.models", ALARM, given_by)
    with pytest.raises(ModelError, match="an alarm is refused"):
        read_alarm(record.value, list(record.headers), wanted)


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_any_bytes(value: bytes) -> None:
    with pytest.raises(ModelError):
        read_alarm(value, [(signature.HEADER, signature.digest(ALARM_KEY, value, SECRET))], SECRET)
