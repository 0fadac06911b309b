"""The product's own exceptions: each says what was wrong, where, and what to do about it.

A bug is left to raise as what it is; these are for what a person can mend.
"""

from __future__ import annotations


class TidemarkError(Exception):
    """Base of every expected error. The message is written for a person, in one or two sentences."""


class ConfigError(TidemarkError):
    """A pipeline file or a setting is wrong; names the file, the key, the value and the remedy."""


class BrokerError(TidemarkError):
    """Kafka can't be reached, started, stopped or asked for what is needed."""


class TopicError(BrokerError):
    """A topic is missing, was re-created, has grown, or no longer holds the offsets that are needed."""


class RegistryError(TidemarkError):
    """The schema registry can't be reached, or refuses to answer: nothing is said of any record."""


class ModelError(TidemarkError):
    """A model is refused: it is corrupt, does not match the schema, or failed its gate."""


class RecordError(TidemarkError):
    """A record can't be processed; its reason goes to the dead-letter topic with it."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


class LabelingError(TidemarkError):
    """The labeling service refuses a call: a stale lease, an unknown class, an unknown case."""
