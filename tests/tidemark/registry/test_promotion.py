"""Models that people put in force again, and pins."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import published, registry_of, small_pipeline

from tidemark.errors import ModelError
from tidemark.records import encode
from tidemark.registry.champion import ChampionKeeper
from tidemark.registry.codec import Registry, signed
from tidemark.registry.describing import described, difference, listed
from tidemark.registry.pin import PIN_KEY, Pin
from tidemark.registry.promotion import copied, in_force, named, pinned, previous, promoted
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Output

PIPELINE = small_pipeline()
SCHEMA = ModelSchema.of(PIPELINE)
TOPIC = "p.models"
VERSIONS = [f"v00000{number}-0000000{number}" for number in (1, 2, 3)]


def three_models() -> list[Output]:
    """A line of three champions, each with the one before it as parent."""
    outputs: list[Output] = []
    for seed, version in enumerate(VERSIONS):
        new = published(SCHEMA, version=version, seed=seed, trees=5 + seed)
        if seed:
            manifest = msgspec.structs.replace(registry_of(new).manifests[version], parent=VERSIONS[seed - 1])
            new = [
                signed(TOPIC, version.encode(), encode(manifest), None) if o.key == version.encode() else o for o in new
            ]
        outputs += new
    return outputs


OUTPUTS = three_models()


def test_a_promoted_model_is_served_as_the_copy_that_its_manifest_names() -> None:
    registry = registry_of(OUTPUTS)
    copy, outputs = promoted(registry, named(registry, "v000001"), by="ann", at=5, topic=TOPIC)
    assert (copy.version, copy.copy_of, copy.parent) == ("v000004-00000001", VERSIONS[0], VERSIONS[2])
    assert copy.decision == f"promoted by ann: model {VERSIONS[0]} again, in the place of {VERSIONS[2]}"
    with Sandbox() as sandbox:
        keeper = ChampionKeeper(SCHEMA, None, lambda what, why: pytest.fail(f"{what}: {why}"))
        for output in [*OUTPUTS, *outputs]:
            keeper.take(output.key, output.value, output.headers, "here")
        keeper.adopt(sandbox)
    assert keeper.version == copy.version
    assert registry_of([*OUTPUTS, *outputs]).text(copy.version) == registry.text(VERSIONS[0])


def test_rolling_back_twice_goes_back_by_two() -> None:
    registry = registry_of(OUTPUTS)
    for expected in (VERSIONS[1], VERSIONS[0]):
        copy, outputs = promoted(registry, previous(registry), by="ann", at=5, topic=TOPIC)
        assert copy.copy_of == expected
        registry.feed_outputs(outputs)
    with pytest.raises(ModelError, match=f"no champion came before {VERSIONS[0]}"):
        previous(registry)


def test_a_model_of_any_name_comes_back_under_a_serial() -> None:
    registry = registry_of([*published(SCHEMA, version="imported-by-hand"), *published(SCHEMA, version=VERSIONS[1])])
    copy = copied(registry, registry.manifests["imported-by-hand"], parent=VERSIONS[1], at=5, decision="it is better")
    assert (copy.version[:8], copy.copy_of, copy.parent) == ("v000003-", "imported-by-hand", VERSIONS[1])
    again = copied(registry, copy, parent=VERSIONS[1], at=6, decision="it is better")
    assert (again.version, again.copy_of) == (copy.version, "imported-by-hand")


@pytest.mark.parametrize("version", ["v000003", "v000004"])
def test_what_is_champion_already_is_not_promoted_under_either_of_its_names(version: str) -> None:
    registry = registry_of(OUTPUTS)
    _, outputs = promoted(registry, named(registry, VERSIONS[1]), by="ann", at=5, topic=TOPIC)
    registry.feed_outputs(outputs)
    _, outputs = promoted(registry, named(registry, VERSIONS[2]), by="ann", at=6, topic=TOPIC)
    registry.feed_outputs(outputs)
    target = VERSIONS[2] if version == "v000003" else in_force(registry).version
    with pytest.raises(ModelError, match="is champion already"):
        promoted(registry, named(registry, target), by="ann", at=7, topic=TOPIC)


def test_a_model_whose_text_is_gone_is_not_promoted() -> None:
    registry = registry_of(OUTPUTS)
    registry.feed_outputs(registry.retire(TOPIC, 1))
    with pytest.raises(ModelError, match="chunks"):
        promoted(registry, named(registry, VERSIONS[0]), by="ann", at=5, topic=TOPIC)
    assert [model.state for model in listed(registry)] == ["champion", "removed", "removed"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("v0000", "3 models begin with 'v0000'"), ("v000033", "there is no model"), ("", "there is no model ''")],
)
def test_a_name_of_no_model_or_of_several_is_refused(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        named(registry_of(OUTPUTS), name)


def test_before_the_first_model_there_is_nothing_to_promote_or_pin() -> None:
    for question in (in_force, previous):
        with pytest.raises(ModelError, match="there is no model yet"):
            question(Registry())


def test_a_pin_is_of_the_champion_that_it_names_until_it_is_lifted() -> None:
    pins = [
        pinned(version, by="ann", at=at, topic=TOPIC, secret=None)
        for at, version in enumerate((VERSIONS[1], VERSIONS[2], None))
    ]
    found = [registry_of([*OUTPUTS, *pins[:count]]).pinned for count in range(4)]
    assert found == [None, None, Pin(version=VERSIONS[2], at=1, by="ann"), None]  # first, another is champion


def test_a_pin_that_is_unsigned_old_or_no_pin_changes_nothing() -> None:
    secret = b"sixteen bytes or more"
    registry = Registry(secret)
    first, lifted = (
        pinned(of, by="ann", at=at, topic=TOPIC, secret=secret) for of, at in ((VERSIONS[2], 1), (None, 2))
    )
    registry.feed_outputs([first, lifted])
    for refused in (
        pinned(VERSIONS[2], by="eve", at=9, topic=TOPIC, secret=None),
        first,
        signed(TOPIC, PIN_KEY, b"[", secret),
        signed(TOPIC, PIN_KEY, encode(Pin(version="../x", at=9, by="eve")), secret),
        signed(TOPIC, PIN_KEY, encode(Pin(version=None, at=2**63 - 1, by="eve")), secret),
    ):
        with pytest.raises(ModelError, match="the pin is refused"):
            registry.feed_outputs([refused])
    assert registry.pin == Pin(version=None, at=2, by="ann")


@given(st.binary(max_size=300))
def test_no_bytes_under_the_pins_key_end_a_reader(value: bytes) -> None:
    registry = registry_of(OUTPUTS)
    with suppress(ModelError):
        registry.feed_outputs([signed(TOPIC, PIN_KEY, value, None)])
    assert registry.pinned is None
    assert registry.champion is not None


def test_two_models_are_compared_by_their_splits_and_their_answers_to_the_same_rows() -> None:
    registry = registry_of(OUTPUTS)
    found = difference(registry, named(registry, VERSIONS[0]), named(registry, VERSIONS[2]))
    assert (found.trees, found.added, found.removed, found.redefined) == (2, [], [], [])
    assert sum(found.splits.values()) == pytest.approx(0)
    assert found.agreement is not None
    assert found.agreement.same_class is not None
    assert 0 <= found.agreement.same_class <= found.agreement.rows
    assert found.agreement.rank_correlation is not None
    assert found.agreement.rank_correlation > 0.5
    same = difference(registry, named(registry, VERSIONS[0]), named(registry, VERSIONS[0]))
    assert same.agreement is not None
    assert same.agreement.same_class == same.agreement.rows
    assert same.agreement.rank_correlation == pytest.approx(1)


def test_a_description_shares_all_splits_out_among_the_features() -> None:
    registry = registry_of(OUTPUTS)
    model = described(registry, named(registry, VERSIONS[1]))
    assert model.trees == 6
    assert sum(model.splits.values()) == pytest.approx(1)
    assert next(iter(model.splits)) == "a"  # the class follows from it most


@pytest.mark.parametrize(
    ("wanted", "ready"),
    [
        (None, None),
        ("previous", VERSIONS[1]),
        (VERSIONS[0], VERSIONS[0]),
        (VERSIONS[2], None),
        ("v000009-00000009", None),
    ],
)
def test_a_shadow_is_had_ready_beside_the_champion_and_never_is_it(wanted: str | None, ready: str | None) -> None:
    with Sandbox() as sandbox:
        keeper = ChampionKeeper(SCHEMA, None, lambda what, why: pytest.fail(f"{what}: {why}"), wanted)
        for output in OUTPUTS:
            keeper.take(output.key, output.value, output.headers, "here")
        keeper.adopt(sandbox)
    assert keeper.version == VERSIONS[2]
    assert (None if keeper.shadow is None else keeper.shadow.version) == ready


def test_a_shadow_that_does_not_pass_its_checks_leaves_the_champion_as_it_is() -> None:
    registry = registry_of(OUTPUTS)
    other = msgspec.structs.replace(registry.manifests[VERSIONS[0]], features=["x", "y", "z"], schema_hash="0" * 16)
    with Sandbox() as sandbox:
        keeper = ChampionKeeper(SCHEMA, None, lambda what, why: pytest.fail(f"{what}: {why}"), "previous")
        for output in [
            *OUTPUTS,
            signed(TOPIC, VERSIONS[1].encode(), encode(msgspec.structs.replace(other, version=VERSIONS[1])), None),
        ]:
            keeper.take(output.key, output.value, output.headers, "here")
        keeper.adopt(sandbox)
    assert (keeper.version, keeper.shadow) == (VERSIONS[2], None)


def test_the_previous_model_is_the_one_before_that_in_force_where_the_champion_is_refused() -> None:
    refused: list[str] = []
    champion = registry_of(OUTPUTS).manifests[VERSIONS[2]]
    other = msgspec.structs.replace(champion, features=["x", "y", "z"], schema_hash="0" * 16)
    with Sandbox() as sandbox:
        keeper = ChampionKeeper(SCHEMA, None, lambda what, _: refused.append(what), "previous")
        for output in [*OUTPUTS, signed(TOPIC, VERSIONS[2].encode(), encode(other), None)]:
            keeper.take(output.key, output.value, output.headers, "here")
        keeper.adopt(sandbox)
    assert refused == [VERSIONS[2]]
    assert keeper.version == VERSIONS[1]
    assert keeper.shadow is not None
    assert keeper.shadow.version == VERSIONS[0]
