"""A client of MQTT that takes messages whose properties it can't read."""

from __future__ import annotations

import struct

from paho.mqtt import MQTTException
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

_UNREADABLE = (MQTTException, UnicodeDecodeError, struct.error, IndexError)
_LONGEST_NUMBER = 4


class LenientClient(Client):
    """Takes such a message without its properties.

    Paho drops the connection at a property with a sign that it does not like, as U+FEFF. The broker then sends the
    message again for ever, and nothing behind it is read.
    """

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            return super()._handle_publish()
        except _UNREADABLE:
            bare = without_properties(self._in_packet["command"], bytes(self._in_packet["packet"]))
            if bare is None:
                raise
            self._in_packet["packet"] = bytearray(bare)
            return super()._handle_publish()


def without_properties(command: int, packet: bytes) -> bytes | None:
    """A PUBLISH of MQTT 5 with no properties.

    Args:
        command: first byte of its fixed header.
        packet: what follows the fixed header.

    Returns:
        The same for a message without properties; None if its parts can't be told.

    """
    at = 2 + int.from_bytes(packet[:2]) + (2 if command & 0x06 else 0)
    size = 0
    for number, byte in enumerate(packet[at : at + _LONGEST_NUMBER]):
        size |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            end = at + number + 1 + size
            return packet[:at] + b"\0" + packet[end:] if size and end <= len(packet) else None
    return None
