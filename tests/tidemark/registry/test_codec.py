from __future__ import annotations

import hashlib
import zlib
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import registry_of, small_pipeline

from tidemark.errors import ConfigError, ModelError
from tidemark.records import Champion, LabelRange, ModelManifest, decode, encode
from tidemark.registry import codec, signature
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Output

SECRET = b"sixteen bytes or more"


def manifest(version: str = "v000001-00000000", parent: str | None = None, created_at: int = 1) -> ModelManifest:
    return ModelManifest(
        version=version,
        parent=parent,
        created_at=created_at,
        schema_hash="h",
        features=["a"],
        classes=["no", "yes"],
        chunks=0,
        size=0,
        sha256="",
        trained_on=[],
        used=0,
        event_ids_sha256="",
        known_until=0,
        metrics={},
        decision="",
    )


def chunks(outputs: list[Output]) -> list[Output]:
    return [each for each in outputs if each.key is not None and b"/" in each.key]


@given(st.text(min_size=1, max_size=2_000))
def test_a_published_text_comes_back_whole(text: str) -> None:
    registry = registry_of(codec.publish(manifest(), text, topic="m"))
    assert registry.text("v000001-00000000") == text
    assert registry.champion is not None
    assert registry.champion.version == "v000001-00000000"


def test_a_large_text_is_published_in_chunks_that_a_broker_takes() -> None:
    text = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(70_000))
    outputs = codec.publish(manifest(), text, topic="m")
    assert len(chunks(outputs)) > 1
    assert max(len(each.value or b"") for each in outputs) <= 900_000
    assert [each.key for each in outputs][-2:] == [b"v000001-00000000", b"champion"]
    assert registry_of(outputs).text("v000001-00000000") == text


def test_a_model_is_published_without_moving_the_champion_if_asked() -> None:
    registry = registry_of(codec.publish(manifest(), "text", topic="m", champion=False))
    assert registry.champion is None
    assert registry.candidates() == []
    assert registry.text("v000001-00000000") == "text"


@pytest.mark.parametrize("version", ["champion", "", "a/b", "a b", "ü", ".hidden", "x" * 101])
def test_a_version_that_can_not_be_a_key_is_refused(version: str) -> None:
    with pytest.raises(ModelError, match="can't name a model"):
        codec.publish(manifest(version), "text", topic="m")


def test_a_text_no_reader_would_accept_is_not_published() -> None:
    with pytest.raises(ModelError, match="train fewer trees"):
        codec.publish(manifest(), "x" * (codec.MAX_TEXT + 1), topic="m")


def test_a_lost_chunk_is_noticed() -> None:
    text = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(70_000))
    outputs = codec.publish(manifest(), text, topic="m")
    for lost in chunks(outputs):
        registry = registry_of(each for each in outputs if each is not lost)
        with pytest.raises(ModelError, match="chunks"):
            registry.text("v000001-00000000")


def test_swapped_chunks_are_noticed() -> None:
    text = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(70_000))
    outputs = codec.publish(manifest(), text, topic="m")
    first, second = chunks(outputs)[:2]
    swapped = [first._replace(key=second.key), second._replace(key=first.key), *outputs[2:]]
    with pytest.raises(ModelError):
        registry_of(swapped).text("v000001-00000000")


def test_a_changed_text_is_noticed() -> None:
    outputs = codec.publish(manifest(), "one text", topic="m")
    outputs[0] = outputs[0]._replace(value=zlib.compress(b"two text"))
    with pytest.raises(ModelError, match="SHA-256"):
        registry_of(outputs).text("v000001-00000000")


def test_a_decompression_bomb_takes_no_more_memory_than_the_manifest_allows() -> None:
    outputs = codec.publish(manifest(), "x" * 1_000, topic="m")
    outputs[0] = outputs[0]._replace(value=zlib.compress(b"x" * 200_000_000, 9))
    with pytest.raises(ModelError, match="do not decompress to the 1,000 bytes"):
        registry_of(outputs).text("v000001-00000000")


@pytest.mark.parametrize("size", [0, -1, codec.MAX_TEXT + 1])
def test_a_size_beyond_the_cap_is_refused_before_anything_is_decompressed(size: int) -> None:
    registry = registry_of(codec.publish(manifest(), "text", topic="m"))
    registry.manifests["v000001-00000000"] = msgspec.structs.replace(registry.manifests["v000001-00000000"], size=size)
    with pytest.raises(ModelError, match="bytes of at most"):
        registry.text("v000001-00000000")


def test_a_champion_without_a_manifest_is_refused_when_it_is_read() -> None:
    outputs = codec.publish(manifest(), "text", topic="m")
    registry = registry_of(each for each in outputs if each.key != b"v000001-00000000")
    with pytest.raises(ModelError, match="its manifest is not in the topic"):
        registry.text("v000001-00000000")


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a/b", b"a/12345", b"a b"])
def test_a_record_of_no_known_key_is_refused(key: bytes | None) -> None:
    with pytest.raises(ModelError, match="no version, chunk or 'champion'"):
        codec.Registry().feed(key, b"value")


def test_a_manifest_under_another_version_is_refused() -> None:
    value = encode(manifest("v000002-00000000"))
    output = codec.signed("m", b"v000001-00000000", value, None)
    with pytest.raises(ModelError, match="is of model 'v000002-00000000'"):
        codec.Registry().feed(output.key, output.value, output.headers)


@pytest.mark.parametrize("key", [b"champion", b"v000001-00000000"])
def test_a_malformed_record_leaves_what_was_known(key: bytes) -> None:
    registry = registry_of(codec.publish(manifest(), "text", topic="m"))
    output = codec.signed("m", key, b"{}", None)
    with pytest.raises(ModelError, match="is refused"):
        registry.feed(output.key, output.value, output.headers)
    assert registry.text("v000001-00000000") == "text"
    assert registry.champion is not None


@given(position=st.integers(0), bit=st.integers(0, 7), which=st.sampled_from([1, 2]))
def test_any_flipped_bit_of_manifest_or_champion_is_noticed(position: int, bit: int, which: int) -> None:
    outputs = codec.publish(manifest(), "text", topic="m")
    value = bytearray(outputs[which].value or b"")
    value[position % len(value)] ^= 1 << bit
    with pytest.raises(ModelError, match="does not fit its content"):
        codec.Registry().feed(outputs[which].key, bytes(value), outputs[which].headers)


def test_with_a_key_an_unsigned_model_is_refused_and_a_signed_one_is_taken() -> None:
    signed = codec.publish(manifest(), "text", topic="m", secret=SECRET)
    registry = codec.Registry(SECRET)
    registry.feed_outputs(signed)
    assert registry.text("v000001-00000000") == "text"
    for secret, outputs, why in (
        (SECRET, codec.publish(manifest(), "text", topic="m"), "it is not signed"),
        (SECRET, codec.publish(manifest(), "text", topic="m", secret=b"another key, as long"), "does not fit"),
        (None, signed, "it is signed, and TIDEMARK_MODEL_KEY is not set here"),
        (SECRET, [each._replace(headers=()) for each in signed], "is missing"),
    ):
        refusing = codec.Registry(secret)
        refusing.feed_outputs(chunks(outputs))
        for output in outputs[1:]:
            with pytest.raises(ModelError, match=why):
                refusing.feed(output.key, output.value, output.headers)
        assert refusing.champion is None


def test_a_signed_manifest_can_not_be_moved_under_another_key() -> None:
    output = codec.publish(manifest(), "text", topic="m", secret=SECRET)[1]
    with pytest.raises(ModelError, match="does not fit its content"):
        codec.Registry(SECRET).feed(b"v000009-00000000", output.value, output.headers)


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "key")
    Path(path).write_text(SECRET.decode() + "\n", encoding="utf-8")
    assert signature.signing_key({}) is None
    assert signature.signing_key({"TIDEMARK_MODEL_KEY": SECRET.decode()}) == SECRET
    assert signature.signing_key({"TIDEMARK_MODEL_KEY_FILE": path}) == SECRET
    for environment, why in (
        ({"TIDEMARK_MODEL_KEY": "short"}, "at least 16"),
        ({"TIDEMARK_MODEL_KEY": SECRET.decode(), "TIDEMARK_MODEL_KEY_FILE": path}, "keep one"),
        ({"TIDEMARK_MODEL_KEY_FILE": path + "-not-there"}, "can't be read"),
    ):
        with pytest.raises(ConfigError, match=why):
            signature.signing_key(environment)


def test_the_newest_earlier_champion_comes_next_in_line() -> None:
    registry = codec.Registry()
    for number, parent in ((1, None), (2, 1), (3, 2)):
        up = f"v00000{parent}-00000000" if parent else None
        registry.feed_outputs(codec.publish(manifest(f"v00000{number}-00000000", up), "text", topic="m"))
    assert [version[:7] for version in registry.candidates()] == ["v000003", "v000002", "v000001"]


def test_after_compaction_the_line_follows_the_parents() -> None:
    registry = codec.Registry()
    for number, parent in ((1, None), (2, 1), (3, 2)):
        up = f"v00000{parent}-00000000" if parent else None
        outputs = codec.publish(manifest(f"v00000{number}-00000000", up), "text", topic="m")
        registry.feed_outputs(outputs if number == 3 else outputs[:-1])
    assert [version[:7] for version in registry.candidates()] == ["v000003", "v000002", "v000001"]


def test_a_tombstoned_champion_leaves_none_in_force() -> None:
    registry = registry_of(codec.publish(manifest(), "text", topic="m"))
    assert registry.feed(b"champion", None)
    assert registry.candidates() == []


def test_old_texts_are_retired_but_never_the_champions_and_no_manifest() -> None:
    registry = codec.Registry()
    versions = [f"v{number:06d}-00000000" for number in range(1, 8)]
    for number, version in enumerate(versions):
        made = manifest(version, versions[number - 1] if number else None, created_at=number)
        registry.feed_outputs(codec.publish(made, "text", topic="m", champion=number == 1))
    retired = registry.retire("m", keep=3)
    assert [output.key for output in retired] == [f"{version}/0000".encode() for version in versions[2:4]]
    registry.feed_outputs(retired)
    assert registry.retire("m", keep=3) == []
    assert sorted(registry.manifests) == versions
    assert registry.text(versions[1]) == "text"


def test_the_champion_record_says_since_when_and_after_whom() -> None:
    outputs = codec.publish(manifest("v000002-00000000", "v000001-00000000", created_at=7), "text", topic="m")
    assert decode(Champion, outputs[-1].value) == Champion(
        version="v000002-00000000", since=7, parent="v000001-00000000"
    )


def test_the_schema_names_features_classes_and_objective() -> None:
    two, three = ModelSchema.of(small_pipeline()), ModelSchema.of(small_pipeline(classes=("x", "y", "z")))
    assert (two.features, two.classes, two.objectives) == (("a", "b", "c"), ("no", "yes"), ("binary",))
    assert three.objectives == ("multiclass", "multiclassova")
    assert two.hash != three.hash


def line(count: int, secret: bytes | None = SECRET) -> list[list[Output]]:
    """Publications of so many champions, one after the other."""
    versions = [None, *(f"v{number:06d}-00000000" for number in range(1, count + 1))]
    return [
        codec.publish(manifest(version or "", before, created_at=number), f"text {number}", topic="m", secret=secret)
        for number, (before, version) in enumerate(pairwise(versions), 1)
    ]


def fed(registry: codec.Registry, output: Output) -> str | None:
    """Why the registry refuses a record, None if it takes it."""
    try:
        registry.feed(output.key, output.value, output.headers)
    except ModelError as error:
        return str(error)
    return None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_whatever_old_record_is_written_again_the_newest_champion_stays(again: list[tuple[int, int]]) -> None:
    published = line(4)
    registry = codec.Registry(SECRET)
    for outputs in published:
        registry.feed_outputs(outputs)
    for model, record in again:
        why = fed(registry, published[model][record])
        assert why is None or "an old record was written again" in why
        assert registry.champion is not None
        assert registry.champion.version == "v000004-00000000"
        assert registry.candidates() == [f"v{number:06d}-00000000" for number in (4, 3, 2, 1)]
        assert registry.text("v000004-00000000") == "text 4"


@given(st.permutations(range(3)), st.integers(0, 2))
def test_a_reader_that_starts_after_compaction_is_not_moved_back_by_an_old_champions_record(
    order: list[int], old: int
) -> None:
    published = line(3)
    registry = codec.Registry(SECRET)
    for number in order:  # compaction keeps of each key its last record, and so of `champion` the old one
        for output in published[number][:-1]:
            assert fed(registry, output) is None
    fed(registry, published[old][-1])
    assert registry.champion is not None
    assert registry.candidates()[0] == "v000003-00000000"


@pytest.mark.parametrize("record", range(3))
def test_with_a_key_only_a_signed_tombstone_deletes(record: int) -> None:
    (outputs,) = line(1)
    key = outputs[record].key or b""
    registry = codec.Registry(SECRET)
    for headers in ((), codec.signed("m", key, None, None).headers, codec.signed("m", key, b"", SECRET).headers):
        registry = codec.Registry(SECRET)
        registry.feed_outputs(outputs)
        assert "is refused" in (fed(registry, Output("m", None, key, headers=headers)) or "")
        assert registry.candidates() == ["v000001-00000000"]
        assert registry.text("v000001-00000000") == "text 1"
    assert fed(registry, codec.signed("m", key, None, SECRET)) is None
    with pytest.raises(ModelError) if record < 2 else nullcontext():
        registry.text("v000001-00000000")
    assert bool(registry.candidates()) == (record < 2)


def test_texts_are_retired_with_signed_tombstones() -> None:
    registry = codec.Registry(SECRET)
    for outputs in line(4):
        registry.feed_outputs(outputs)
    retired = registry.retire("m", keep=2)
    assert [output.key for output in retired] == [b"v000001-00000000/0000", b"v000002-00000000/0000"]
    registry.feed_outputs(retired)
    assert registry.retire("m", keep=2) == []


HUGE = st.sampled_from([-1, -(10**30), 10**12, 10**30, 2**62, 2**63, 10**300])


@given(st.sampled_from(["chunks", "created_at", "known_until", "used", "start", "end", "partition"]), HUGE)
def test_a_manifest_of_numbers_that_are_none_is_refused_though_it_is_signed(name: str, number: int) -> None:
    made = manifest()
    if name in ("start", "end", "partition"):
        labels = LabelRange(topic="p.labels", partition=0, start=0, end=1)
        made = msgspec.structs.replace(made, trained_on=[msgspec.structs.replace(labels, **{name: number})])
    else:
        made = msgspec.structs.replace(made, **{name: number})
    registry = codec.Registry(SECRET)
    why = fed(registry, codec.signed("m", b"v000001-00000000", encode(made), SECRET))
    small = abs(number) < 2**62 and name not in ("chunks", "start") and not (name == "end" and number < 0)
    assert (why is None) == small
    assert why is None or len(why) < 300
    with pytest.raises(ModelError):
        registry.text("v000001-00000000")


@pytest.mark.parametrize(("version", "parent"), [("champion", None), ("a/b", None), ("x" * 900_000, None), ("v1", "ü")])
def test_a_champion_of_no_name_is_refused(version: str, parent: str | None) -> None:
    output = codec.signed("m", b"champion", encode(Champion(version=version, since=1, parent=parent)), SECRET)
    why = fed(codec.Registry(SECRET), output)
    assert why is not None
    assert "names no model" in why
    assert len(why) < 300


def test_a_long_key_is_refused_in_a_short_sentence() -> None:
    assert len(fed(codec.Registry(), Output("m", b"", b"x" * 1_000_000)) or "") < 300


def test_chunks_that_no_manifest_follows_are_held_within_bounds() -> None:
    registry = codec.Registry(SECRET)
    for number in range(1_000):
        registry.feed(f"x{number}/0000".encode(), b"x" * 1_000)
    assert sum(len(chunk) for chunks in registry._chunks.values() for chunk in chunks.values()) <= 8_000
    whys = [fed(registry, Output("m", b"x" * 900_000, f"big/{number:04d}".encode())) for number in range(100)]
    assert "more than" in (whys[-1] or "")


def test_a_chunk_written_after_its_model_was_published_is_refused() -> None:
    (outputs,) = line(1)
    registry = codec.Registry(SECRET)
    registry.feed_outputs(outputs)
    assert "was published before it" in (fed(registry, outputs[0]._replace(value=b"other")) or "")
    assert fed(registry, outputs[0]) is None
    assert registry.text("v000001-00000000") == "text 1"
