"""In which partition a record with a key stands: by the hash of Kafka's Java clients, as every producer here."""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """MurmurHash2 of 32 bits, as `org.apache.kafka.common.utils.Utils.murmur2` has it; unsigned."""
    length = len(key)
    h = (_SEED ^ length) & _MASK
    whole = length - length % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    rest = key[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Number of the partition that a producer chooses for a key.

    Args:
        key: of the record.
        partitions: how many the topic has.

    Returns:
        The number.

    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
