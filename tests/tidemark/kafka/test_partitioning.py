"""Kafka's own examples of its hash, from `UtilsTest.testMurmur2` of Apache Kafka."""

from __future__ import annotations

import pytest

from tidemark.kafka.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_kafka_gives_it(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32
    assert 0 <= partition_of(key, 7) < 7
