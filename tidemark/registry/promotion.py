"""An earlier model in force again, and a champion that stays: what people decide about models.

Serials of champions only go forward (`tidemark.registry.codec`). So a model comes back as a copy under the next serial,
whose manifest names the model that it is of.
"""

from __future__ import annotations

import hashlib

import msgspec

from tidemark.errors import ModelError
from tidemark.records import ModelManifest, encode
from tidemark.registry.codec import Registry, publish, signed
from tidemark.registry.pin import PIN_KEY, Pin
from tidemark.registry.versions import next_version, serial_of
from tidemark.runtime.processor import Output
from tidemark.runtime.suggestions import did_you_mean


def named(registry: Registry, name: str) -> ModelManifest:
    """The model that a person means.

    Args:
        registry: what the models topic holds.
        name: its version, or as much of its beginning as only one model has.

    Returns:
        Its manifest.

    Raises:
        ModelError: no model is named so, or several begin so.

    """
    if name in registry.manifests:
        return registry.manifests[name]
    found = [version for version in registry.manifests if version.startswith(name)] if name else []
    if len(found) > 1:
        raise ModelError(f"{len(found)} models begin with {name!r}, {min(found)} and {max(found)} among them: say more")
    if not found:
        raise ModelError(f"there is no model {name!r}: {did_you_mean(name, list(registry.manifests))}")
    return registry.manifests[found[0]]


def previous(registry: Registry) -> ModelManifest:
    """The champion before the one in force.

    Where a copy is in force, that is the one before its original: to roll back twice goes back by two.

    Args:
        registry: what the models topic holds.

    Returns:
        Its manifest.

    Raises:
        ModelError: there is none.

    """
    champion = in_force(registry)
    original = registry.manifests.get(champion.copy_of or champion.version, champion)
    if original.parent is None:
        raise ModelError(f"no champion came before {original.version}, which is in force")
    return named(registry, original.parent)


def in_force(registry: Registry) -> ModelManifest:
    """Manifest of the champion.

    Raises:
        ModelError: there is no champion, or its manifest is not in the topic.

    """
    champion = registry.champion
    if champion is None:
        raise ModelError(
            "there is no model yet: the retrain flow trains the first from labels, `tidemark train` from a history"
        )
    return named(registry, champion.version)


def promoted(
    registry: Registry, manifest: ModelManifest, *, by: str, at: int, topic: str
) -> tuple[ModelManifest, list[Output]]:
    """A model as champion again.

    Args:
        registry: what the models topic holds.
        manifest: of the model.
        by: who wants it.
        at: now, µs since 1970.
        topic: name of `P.models`.

    Returns:
        The copy's manifest, and the records that publish it, to be produced in one transaction.

    Raises:
        ModelError: it is champion already, or its text is no longer in the topic.

    """
    champion = in_force(registry)
    original = manifest.copy_of or manifest.version
    if original in (champion.version, champion.copy_of):
        raise ModelError(f"model {manifest.version} is champion already")
    text = registry.text(manifest.version)
    decision = f"promoted by {by}: model {original} again, in the place of {champion.version}"
    copy = copied(registry, manifest, parent=champion.version, at=at, decision=decision)
    return copy, publish(copy, text, topic=topic, secret=registry.secret)


def copied(registry: Registry, manifest: ModelManifest, *, parent: str, at: int, decision: str) -> ModelManifest:
    """Manifest with which a model is published once more, under the next serial.

    Args:
        registry: what the models topic holds.
        manifest: of the model, or of a copy of it.
        parent: the champion that it replaces.
        at: now, µs since 1970.
        decision: why.

    Returns:
        The copy's.

    Raises:
        ModelError: there is no further serial.

    """
    original = manifest.copy_of or manifest.version
    version = next_version(registry.versions, _content(original))
    return msgspec.structs.replace(
        manifest, version=version, parent=parent, created_at=at, decision=decision, copy_of=original
    )


def pinned(version: str | None, *, by: str, at: int, topic: str, secret: bytes | None) -> Output:
    """The record that pins a champion, or lifts the pin.

    Args:
        version: the champion; None to lift the pin.
        by: who wants it.
        at: now, µs since 1970.
        topic: name of `P.models`.
        secret: the key with which records are signed, if they are.

    Returns:
        The record.

    """
    return signed(topic, PIN_KEY, encode(Pin(version=version, at=at, by=by)), secret)


def _content(version: str) -> str:
    """Digits that tell what a model was trained on: those of its version, or of its name where that has none."""
    return version.rpartition("-")[2] if serial_of(version) else hashlib.sha256(version.encode()).hexdigest()
