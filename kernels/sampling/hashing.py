"""Portable 64-bit hashes: keys of windows, event identities, and the selection coin.

Everything here is XXH64 (Yann Collet, https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) over
little-endian bytes, so that any language with an xxHash library reproduces it.
"""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, describe, integer
from kernels.numerics._jit import lean

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_MAX_U64 = 2**64 - 1
_U1, _U7, _U8, _U11, _U12, _U18, _U23 = (np.uint64(n) for n in (1, 7, 8, 11, 12, 18, 23))
_U24, _U27, _U29, _U31, _U32, _U33, _U64 = (np.uint64(n) for n in (24, 27, 29, 31, 32, 33, 64))


@lean
def _rotl(x: np.uint64, r: np.uint64) -> np.uint64:
    return (x << r) | (x >> (_U64 - r))


@lean
def _round(acc: np.uint64, lane: np.uint64) -> np.uint64:
    return _rotl(acc + lane * _P2, _U31) * _P1


@lean
def _merge(acc: np.uint64, lane: np.uint64) -> np.uint64:
    return (acc ^ _round(np.uint64(0), lane)) * _P1 + _P4


@lean
def _absorb(acc: np.uint64, lane: np.uint64) -> np.uint64:
    return _rotl(acc ^ _round(np.uint64(0), lane), _U27) * _P1 + _P4


@lean
def _avalanche(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _U33)) * _P2
    h = (h ^ (h >> _U29)) * _P3
    return h ^ (h >> _U32)


@lean
def _read64(data: NDArray[np.uint8], p: int) -> np.uint64:
    word = np.uint64(0)
    for b in range(8):
        word |= np.uint64(data[p + b]) << np.uint64(8 * b)
    return word


@lean
def _read32(data: NDArray[np.uint8], p: int) -> np.uint64:
    word = np.uint64(0)
    for b in range(4):
        word |= np.uint64(data[p + b]) << np.uint64(8 * b)
    return word


@lean
def _xxh64(data: NDArray[np.uint8], start: int, stop: int, seed: np.uint64) -> np.uint64:
    p = start
    if stop - start >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while stop - p >= 32:
            a = _round(a, _read64(data, p))
            b = _round(b, _read64(data, p + 8))
            c = _round(c, _read64(data, p + 16))
            d = _round(d, _read64(data, p + 24))
            p += 32
        h = _rotl(a, _U1) + _rotl(b, _U7) + _rotl(c, _U12) + _rotl(d, _U18)
        h = _merge(_merge(_merge(_merge(h, a), b), c), d)
    else:
        h = seed + _P5
    h = h + np.uint64(stop - start)
    while stop - p >= 8:
        h = _absorb(h, _read64(data, p))
        p += 8
    if stop - p >= 4:
        h = _rotl(h ^ (_read32(data, p) * _P1), _U23) * _P2 + _P3
        p += 4
    while p < stop:
        h = _rotl(h ^ (np.uint64(data[p]) * _P5), _U11) * _P1
        p += 1
    return _avalanche(h)


@lean
def _xxh64_strings(
    offsets: NDArray[np.int64], data: NDArray[np.uint8], seed: np.uint64, out: NDArray[np.uint64]
) -> None:
    for i in range(out.shape[0]):
        out[i] = _xxh64(data, offsets[i], offsets[i + 1], seed)


@lean
def xxh64_word(word: np.uint64, seed: np.uint64) -> np.uint64:
    """XXH64 of the eight bytes of one integer."""
    return _avalanche(_absorb(seed + _P5 + _U8, word))


@lean
def _xxh64_words(words: NDArray[np.uint64], seed: np.uint64, out: NDArray[np.uint64]) -> None:
    for i in range(out.shape[0]):
        out[i] = xxh64_word(words[i], seed)


@lean
def _coin(
    stream: np.uint64,
    partitions: NDArray[np.uint64],
    offsets: NDArray[np.uint64],
    policy: np.uint64,
    out: NDArray[np.uint64],
) -> None:
    start = _absorb(policy + _P5 + _U24, stream)
    one = partitions.shape[0] == 1
    for i in range(out.shape[0]):
        h = _absorb(start, partitions[0] if one else partitions[i])
        out[i] = _avalanche(_absorb(h, offsets[i]))


def hash64(data: bytes, seed: int = 0) -> int:
    """XXH64 of some bytes, 0 to 2**64 - 1.  ``hash64(b"") == 0xEF46DB3751D8E999``.

    Raises ValueError for a seed outside 0 to 2**64 - 1 or data that is not bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"data: expected bytes, got {describe(data)}")  # noqa: TRY004  (kernels raise ValueError)
    buffer = array("data", np.frombuffer(data, np.uint8), np.uint8, (None,))
    return int(_xxh64(buffer, 0, buffer.shape[0], np.uint64(integer("seed", seed, 0, _MAX_U64))))


def hash_strings(offsets: NDArray[np.int64], data: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint64]:
    """XXH64 of each of n strings that lie in one buffer (Arrow's large_string layout).

    offsets: (n + 1,) int64; string i is ``data[offsets[i]:offsets[i + 1]]``.  data: (bytes,) uint8. Returns
    (n,) uint64, element i equal to ``hash64`` of string i.  Raises ValueError where offsets decrease or leave
    the buffer.
    """
    checked = array("offsets", offsets, np.int64, (None,))
    buffer = array("data", data, np.uint8, (None,))
    if checked.shape[0] == 0:
        raise ValueError("offsets: expected n + 1 entries for n strings, got none")
    if checked[0] < 0 or checked[-1] > buffer.shape[0] or bool(np.any(checked[1:] < checked[:-1])):
        raise ValueError(f"offsets: expected to rise from 0 to at most {buffer.shape[0]}, the length of data")
    out = np.empty(checked.shape[0] - 1, np.uint64)
    _xxh64_strings(checked, buffer, np.uint64(integer("seed", seed, 0, _MAX_U64)), out)
    return out


def hash_int64(values: NDArray[np.int64] | NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """XXH64 of the eight little-endian bytes of each integer: (n,) int64 or uint64 to (n,) uint64."""
    checked = array("values", values, (np.int64, np.uint64), (None,))
    out = np.empty(checked.shape[0], np.uint64)
    _xxh64_words(checked.view(np.uint64), np.uint64(integer("seed", seed, 0, _MAX_U64)), out)
    return out


def coin(
    stream: int, partition: int | NDArray[np.int64], offsets: NDArray[np.int64], policy: int
) -> NDArray[np.uint64]:
    """The selection coin of each event: the same number in every replay, on every machine, in every language.

    ``coin = XXH64(le64(stream) + le64(partition) + le64(offset), seed=policy)``: 24 bytes, little-endian.

    stream: 64-bit identity of the topic's incarnation (``hash64`` of its name and id).  partition: one for
    all, or (n,) int64.  offsets: (n,) int64.  policy: 64-bit version of the selection policy; another policy
    tosses independent coins.  Returns (n,) uint64, uniform on 0 to 2**64 - 1.  ``coin(1, 2, np.array([3]),
    4)`` is ``[0x05243FE29C51EACE]``.
    """
    checked = array("offsets", offsets, np.int64, (None,))
    if isinstance(partition, np.ndarray):
        partitions = array("partition", partition, np.int64, (checked.shape[0],))
    else:
        partitions = array("partition", np.array([integer("partition", partition, 0, 2**31 - 1)]), np.int64, (1,))
    out = np.empty(checked.shape[0], np.uint64)
    _coin(
        np.uint64(integer("stream", stream, 0, _MAX_U64)),
        partitions.view(np.uint64),
        checked.view(np.uint64),
        np.uint64(integer("policy", policy, 0, _MAX_U64)),
        out,
    )
    return out


@overload
def unit(hashes: NDArray[np.uint64]) -> NDArray[np.float64]: ...
@overload
def unit(hashes: int) -> float: ...
def unit(hashes: NDArray[np.uint64] | int) -> NDArray[np.float64] | float:
    """Map 64-bit hashes to (0, 1]: ``((hash >> 11) + 1) * 2**-53``, exact in float64; never 0, so it may divide."""
    if isinstance(hashes, np.ndarray):
        checked = array("hashes", hashes, np.uint64, (None,))
        return ((checked >> _U11) + _U1).astype(np.float64) * 2.0**-53
    return ((integer("hashes", hashes, 0, _MAX_U64) >> 11) + 1) * 2.0**-53
