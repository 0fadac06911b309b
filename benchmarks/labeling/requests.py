"""Requests for a service whose contract is known only by its descriptors: from plausible to random bytes.

What the service answered is learnt from: ids and tokens that it gave go into later requests together, as they came, and
requests that it accepted are changed a little and sent again. So a call that is new in the contract is reached at once.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_TEXTS: Final = (
    *("", "x" * 200, "x" * 5_000, "\u202e", "\x00", "\n", "a\u200bb", "ü", "🦀", "' OR 1=1 --", "%s%n", "../../etc"),
    *("=1+1", "\ud7ff", "\U0010ffff", "none", "0"),
)
_NUMBERS: Final = (0, 1, -1, 50, 100, 101, 1_000, 60_000, 2**31 - 1, -(2**31))
_WIDE: Final = (*_NUMBERS, 2_000, 2**53, 10**15, 2**63 - 1, -(2**63))
_REALS: Final = (0.0, 0.5, 1.0, -1.0, 5e-324, 1e308, float("nan"), float("inf"), float("-inf"))
_LIKELY_NUMBERS: Final = (0, 1, 2, 20, 1_000, 2_000)
_LIKELY_REALS: Final = (0.0, 0.5, 1.0)
_FIRST: Final = 3
"""Requests to a call of the first service for each to a call of another."""

_FACTS: Final = 60
_TAKEN: Final = 60
_SAMPLED: Final = 4
_DEEPEST: Final = 4
_UNKNOWN_FIELD: Final = b"\xc2\x3e\x03abc"
"""Field 1000 of wire type 2, which no message here has."""

_TYPES: Final[dict[int, type]] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
    FieldDescriptor.CPPTYPE_FLOAT: float,
    FieldDescriptor.CPPTYPE_ENUM: int,
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_INT64: int,
}

Fact = dict[str, Any]
"""Values by the names of the fields in which they came, together."""


class Requests:
    """Endless requests to `services`, of one package; more to the first, whose calls need what others answered.

    words: texts to begin with, which the services know.
    """

    def __init__(self, services: Sequence[ServiceDescriptor], seed: int, words: Sequence[str]) -> None:
        self._chance = random.Random(seed)  # noqa: S311 seeded, no secret
        self._methods: list[MethodDescriptor] = [method for service in services for method in service.methods]
        self._weights = [_FIRST if method in services[0].methods else 1 for method in self._methods]
        self._package = services[0].file.package
        self._words: deque[str] = deque(["", *words], maxlen=40)
        self._facts: defaultdict[str, deque[Fact]] = defaultdict(lambda: deque(maxlen=_FACTS))
        self._values: defaultdict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=_FACTS))
        self._taken: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=_TAKEN))

    def next(self) -> tuple[MethodDescriptor, bytes]:
        """A method and what to send to it."""
        method = self._chance.choices(self._methods, self._weights)[0]
        make = self._chance.choices((self._likely, self._changed, self._wild, self._damaged), (45, 25, 20, 10))[0]
        return method, make(method)

    def learn(self, method: MethodDescriptor, sent: bytes, response: Message) -> None:
        """Take what the service answered to a request that it accepted into account."""
        self._taken[method.name].append(sent)
        for message in self._sampled(response):
            if fact := _fact(message):
                self._facts[message.DESCRIPTOR.name].append(fact)
                for name, value in fact.items():
                    self._values[name].append(value)

    def _sampled(self, message: Message) -> Iterator[Message]:
        """The message, and some of those in it that are the contract's own."""
        if message.DESCRIPTOR.file.package != self._package:
            return
        yield message
        for field, value in message.ListFields():
            if not field.is_repeated:
                if field.message_type is not None:
                    yield from self._sampled(value)
            elif field.message_type is not None:
                for element in self._chance.sample(list(value), min(len(value), _SAMPLED)):
                    yield from self._sampled(element)
            elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and value[0] not in self._words:
                self._words.extend(value)

    # ---- four ways to make one ---------------------------------------------------------------------------------------

    def _likely(self, method: MethodDescriptor) -> bytes:
        """Fields that fit each other, for the most part."""
        return _bytes(self._filled(_new(method), self._likely_value, (1, 1, 1, 2, 5, 20)))

    def _wild(self, method: MethodDescriptor) -> bytes:
        """Any value in any field."""
        return _bytes(self._filled(_new(method), self._wild_value, (0, 1, 1, 2, 5, 120)))

    def _changed(self, method: MethodDescriptor) -> bytes:
        """One that was accepted before, but for a field or two."""
        taken = self._taken[method.name]
        if not taken:
            return self._likely(method)
        message = _new(method)
        message.ParseFromString(self._chance.choice(taken))
        for _ in range(self._chance.choice((0, 1, 1, 2))):
            self._change(self._chance.choice(list(_messages(message))))
        return _bytes(message)

    def _damaged(self, method: MethodDescriptor) -> bytes:
        """Bytes that are no message, or another than was meant."""
        chance = self._chance
        sent = chance.choice((self._likely, self._changed))(method)
        match chance.randrange(6):
            case 0:
                return bytes(byte if chance.random() > 0.02 else chance.randrange(256) for byte in sent)
            case 1:
                return sent[: chance.randrange(len(sent) + 1)]
            case 2:
                at = chance.randrange(len(sent) + 1)
                return sent[:at] + sent[at // 2 : at] + sent[at:]
            case 3:
                return sent + _UNKNOWN_FIELD
            case 4:
                return chance.randbytes(chance.choice((1, 10, 100)))
            case _:
                return sent + self._likely(chance.choice(self._methods))

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _filled(
        self, message: Message, value: Callable[[FieldDescriptor, Fact], Any], lengths: Sequence[int], depth: int = 0
    ) -> Message:
        fact = self._fact_for(message)
        for field in _fields(message):
            if self._chance.random() < (0.05 if field.name in fact or field.message_type is not None else 0.5):
                continue
            count = self._chance.choice(lengths) if field.is_repeated else 1
            if field.message_type is not None and depth == _DEEPEST:
                continue
            for _ in range(count):
                if field.message_type is None:
                    _put(message, field, value(field, fact))
                else:
                    below = getattr(message, field.name)
                    below = below.add() if field.is_repeated else below
                    below.SetInParent()
                    self._filled(below, value, lengths, depth + 1)
        return message

    def _change(self, message: Message) -> None:
        """Another value in one field, or none, or one more or less."""
        fields = _fields(message)
        if not fields:
            return
        field = self._chance.choice(fields)
        if field.is_repeated and (values := getattr(message, field.name)):
            if self._chance.random() < 0.5:
                values.append(self._chance.choice(values))
            else:
                del values[self._chance.randrange(len(values))]
        elif field.message_type is not None or self._chance.random() < 0.2:
            message.ClearField(field.name)
        else:
            value = self._chance.choice((self._likely_value, self._wild_value))
            _put(message, field, value(field, self._fact_for(message)))

    def _fact_for(self, message: Message) -> Fact:
        """What was answered that has fields of the message's; the more of them, the likelier."""
        names = {field.name for field in _fields(message)}
        kinds = [facts for facts in self._facts.values() if not names.isdisjoint(facts[-1])]
        if not kinds:
            return {}
        weights = [len(names.intersection(facts[-1])) ** 2 for facts in kinds]
        return self._chance.choice(self._chance.choices(kinds, weights)[0])

    def _likely_value(self, field: FieldDescriptor, fact: Fact) -> Any:  # noqa: ANN401 - of the field's type
        seen = [fact[field.name]] if field.name in fact else self._values[field.name]
        if (
            seen
            and self._chance.random() < 0.9
            and isinstance(value := self._chance.choice(seen), _TYPES.get(field.cpp_type, ()))
        ):
            return value
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                text: str = self._chance.choice(self._words)
                return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._chance.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self._chance.choice(_LIKELY_REALS)
            case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
                return self._chance.choice(list(field.enum_type.values)).number
            case _:
                return self._chance.choice(_LIKELY_NUMBERS)

    def _wild_value(self, field: FieldDescriptor, fact: Fact) -> Any:  # noqa: ANN401 - of the field's type
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                known = [value for value in fact.values() if isinstance(value, str)]
                text: str = self._chance.choice(known if known and self._chance.random() < 0.5 else _TEXTS)
                return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._chance.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self._chance.choice(_REALS)
            case FieldDescriptor.CPPTYPE_INT64:
                return self._chance.choice(_WIDE)
            case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
                return abs(self._chance.choice(_NUMBERS))
            case _:
                return self._chance.choice(_NUMBERS)


def waits(method: MethodDescriptor, sent: bytes) -> bool:
    """Whether a request asks the service to take its time: a stream, or a long poll (a field `wait_ms` above 0)."""
    if method.server_streaming:
        return True
    try:
        return getattr(GetMessageClass(method.input_type).FromString(sent), "wait_ms", 0) > 0
    except DecodeError:
        return False


def _new(method: MethodDescriptor) -> Message:
    return GetMessageClass(method.input_type)()


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    return cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _put(message: Message, field: FieldDescriptor, value: Any) -> None:  # noqa: ANN401 - of the field's type
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _messages(message: Message) -> Iterator[Message]:
    """The message, and those in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for below in value if field.is_repeated else [value]:
                yield from _messages(below)


def _fact(message: Message) -> Fact:
    """The single values of a message, and of the single messages in it."""
    found: Fact = {}
    for field, value in message.ListFields():
        if field.is_repeated:
            continue
        found |= {field.name: value} if field.message_type is None else _fact(value)
    return found
