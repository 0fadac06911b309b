import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uncompiled import many_trials

import kernels
from kernels.sampling.hashing import coin, hash64, hash_int64, hash_strings, unit
from tests import naive

seeds = st.integers(0, 2**64 - 1)


def buffer_of(strings: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, strings)]).astype(np.int64)
    return offsets, np.frombuffer(b"".join(strings), np.uint8)


@pytest.mark.parametrize(
    ("data", "seed", "digest"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
        (b"xxhash", 20141025, 0xB559B98D844E0635),
    ],
)
def test_hash64_gives_the_published_digests_of_xxh64(data: bytes, seed: int, digest: int) -> None:
    assert hash64(data, seed) == digest


@given(data=st.binary(max_size=100), seed=seeds)
def test_hash64_equals_the_specification(data: bytes, seed: int) -> None:
    assert hash64(data, seed) == naive.xxh64(data, seed)


@given(strings=st.lists(st.binary(max_size=40), max_size=8), seed=seeds)
def test_hash_strings_equals_hash64_of_each(strings: list[bytes], seed: int) -> None:
    assert hash_strings(*buffer_of(strings), seed).tolist() == [hash64(s, seed) for s in strings]


def test_hash_strings_reads_a_slice_of_a_larger_buffer() -> None:
    offsets, data = buffer_of([b"left out", b"first", b"", b"second"])
    assert hash_strings(offsets[1:], data).tolist() == [hash64(b"first"), hash64(b""), hash64(b"second")]


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), seed=seeds)
def test_hash_int64_equals_hash64_of_the_little_endian_bytes(values: list[int], seed: int) -> None:
    want = [hash64(v.to_bytes(8, "little", signed=True), seed) for v in values]
    assert hash_int64(np.array(values, np.int64), seed).tolist() == want


@given(stream=seeds, partition=st.integers(0, 2**31 - 1), offset=st.integers(0, 2**63 - 1), policy=seeds)
def test_a_coin_is_xxh64_of_stream_partition_and_offset_under_the_policy(
    stream: int, partition: int, offset: int, policy: int
) -> None:
    want = naive.xxh64(b"".join(v.to_bytes(8, "little") for v in (stream, partition, offset)), policy)
    assert coin(stream, partition, np.array([offset]), policy).tolist() == [want]
    assert coin(stream, np.array([partition]), np.array([offset]), policy).tolist() == [want]


def test_the_coin_has_its_documented_test_vectors() -> None:
    assert coin(1, 2, np.array([3]), 4).tolist() == [0x05243FE29C51EACE]
    assert coin(0, 0, np.array([0]), 0).tolist() == [0xBB3302E8A9608868]
    assert coin(0, np.array([0, 0]), np.array([0, 1]), 0).tolist() == coin(0, 0, np.array([0, 1]), 0).tolist()


@many_trials
def test_coins_of_neighbouring_events_are_uniform_and_independent_between_policies() -> None:
    offsets = np.arange(200_000)
    one, other = (unit(coin(7, 3, offsets, policy)) for policy in (1, 2))
    counts = np.histogram(one, bins=100, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 149, "chi-square beyond its 99.9 % quantile with 99 degrees"
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.01


def test_unit_maps_the_ends_of_the_range_into_0_exclusive_to_1_inclusive() -> None:
    assert unit(0) == 2.0**-53
    assert unit(2**64 - 1) == 1.0
    hashes = np.array([0, 2**11, 2**63, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(unit(hashes), [unit(int(h)) for h in hashes])


def test_no_rows_give_no_hashes() -> None:
    empty = np.array([], np.int64)
    assert coin(1, 2, empty, 3).shape == coin(1, empty, empty, 3).shape == hash_int64(empty).shape == (0,)
    assert hash_strings(np.array([0]), np.array([], np.uint8)).shape == (0,)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [([], "n \\+ 1 entries"), ([0, 3, 2], "rise"), ([-1, 2], "rise"), ([0, 6], "at most 5")],
)
def test_offsets_that_would_read_outside_the_buffer_are_refused(offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hash_strings(np.array(offsets, np.int64), np.frombuffer(b"abcde", np.uint8))


def test_arguments_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="expected bytes, got str"):
        hash64("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed: expected an integer from 0"):
        hash64(b"", -1)
    with pytest.raises(ValueError, match=r"offsets: expected .* int64"):
        coin(1, 2, np.array([1.0]), 3)
    with pytest.raises(ValueError, match=r"partition: expected .* shape \(2,\)"):
        coin(1, np.array([1, 2, 3]), np.array([1, 2]), 3)
    with pytest.raises(ValueError, match=r"values: expected .* int64 or uint64"):
        hash_int64(np.array([1], ">i8"))


def test_importing_kernels_neither_imports_numba_nor_takes_long() -> None:
    script = """
import sys, time
start = time.process_time()
import kernels
assert time.process_time() - start < 0.3
dir(kernels)
assert "numba" not in sys.modules
kernels.hash64
assert "numba" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_that_kernels_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"kernels.* nothing"):
        kernels.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_name_of_kernels_exists() -> None:
    for name in kernels.__all__:
        assert getattr(kernels, name) is not None
