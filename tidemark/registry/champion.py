"""Which model is in force, given the records of the models topic: the rule of the hot swap, without Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tidemark.errors import ModelError
from tidemark.records import NO_MODEL
from tidemark.registry import label_counts
from tidemark.registry.codec import Headers, Registry
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator
from tidemark.registry.versions import serial_of

_log = logging.getLogger(__name__)
_REMEMBERED: Final = 100
PREVIOUS: Final = "previous"
"""In place of a shadow's version: whichever was champion before the one in force."""


class ChampionKeeper:
    """Keeps the champion: a new one comes in force if it passes every check; if not, the one before stays.

    Before there is any, the newest earlier champion that passes is taken.

    report: told what was refused (a version, or a record) and why.
    shadow: version of a model that is had ready beside the champion, or `PREVIOUS`; None for none.
    current: the model in force, None before the first.  refused: why the latest refused ones were.
    label_counts: what labels had told when there was no model, None where nothing is known.
    """

    def __init__(
        self,
        schema: ModelSchema,
        secret: bytes | None,
        report: Callable[[str, str], None],
        shadow: str | None = None,
    ) -> None:
        self._schema = schema
        self._secret = secret
        self._report = report
        self._registry = Registry(secret)
        self._incarnation: str | None = None
        self._wanted = shadow
        self.current: ActiveModel | None = None
        self.shadow: ActiveModel | None = None
        self.refused: dict[str, str] = {}
        self.label_counts: LabelCounts | None = None

    @property
    def version(self) -> str:
        """Version in force, `none` before the first."""
        return NO_MODEL if self.current is None else self.current.version

    def start_over(self, incarnation: str | None = None) -> None:
        """Forget the records, for they come from the first on again. The model in force stays until another passes.

        incarnation: of the topic. In the same topic, no model that is older than the one in force comes in its place.
        """
        same = incarnation is not None and incarnation == self._incarnation
        self._incarnation = incarnation
        self._registry = Registry(self._secret, floor=serial_of(self.version) if same else 0)
        self.label_counts = None

    def take(self, key: bytes | None, value: bytes | None, headers: Headers, where: str) -> bool:
        """Take in a record; True if it named a champion. One that is malformed is reported and passed over."""
        try:
            if key == label_counts.KEY:
                self.label_counts = label_counts.read_counts(value, headers, self._secret)
                return False
            return self._registry.feed(key, value, headers)
        except ModelError as error:
            self._refuse(where, str(error))
            return False

    def adopt(self, sandbox: Sandbox) -> None:
        """Put the champion in force if it passes every check, and have the shadow ready if it does."""
        validator = Validator(self._schema, sandbox)
        self._adopt_champion(validator)
        self._adopt_shadow(validator)

    def _adopt_champion(self, validator: Validator) -> None:
        candidates = self._registry.candidates()
        if self.current is not None:
            candidates = candidates[:1]
        for version in candidates:
            if self._in_force(version):
                return
            try:
                self.current = ActiveModel(validator.check(self._registry, version))
            except ModelError as error:
                self._refuse(version, str(error))
                continue
            _log.info("model %s is in force", version)
            return

    def _adopt_shadow(self, validator: Validator) -> None:
        version = self._wanted
        if version == PREVIOUS:
            line = self._registry.candidates()
            before = line[line.index(self.version) + 1 :] if self.version in line else line
            version = next(iter(before), None)
        if version is None or version == self.version or version not in self._registry.manifests:
            self.shadow = None
        elif self.shadow is None or self.shadow.version != version:
            self.shadow = None
            try:
                self.shadow = ActiveModel(validator.check(self._registry, version))
            except ModelError as error:
                _log.warning("model %s can't be asked as a shadow: %s", version, error)
            else:
                _log.info("model %s is asked beside it, as a shadow", version)

    def _in_force(self, version: str) -> bool:
        current = self.current
        return (
            current is not None
            and current.version == version
            and current.manifest == self._registry.manifests.get(version)
        )

    def _refuse(self, what: str, reason: str) -> None:
        _log.error("a model is refused, %s stays in force: %s", self.version, reason)
        self.refused[what] = reason
        while len(self.refused) > _REMEMBERED:
            self.refused.pop(next(iter(self.refused)))
        self._report(what, reason)
