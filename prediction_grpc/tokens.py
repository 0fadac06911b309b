"""Tokens that callers show: those of the pipeline's `[ask]`, in metadata as `authorization: Bearer TOKEN`."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from tidemark.errors import ConfigError
from tidemark.pipeline.model import AskSpec
from tidemark.runtime.secrets import secret

HEADER: Final = "authorization"
SCHEME: Final = "Bearer "
_SHORTEST: Final = 16


def is_shown(token: str) -> bool:
    """Whether a header can show a token: ASCII, and nothing that is not printed."""
    return token.isascii() and token.isprintable()


class Tokens:
    """Which tokens let a caller in."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """Remember them. tokens: none lets in whoever reaches the port."""
        self._tokens = [token.encode() for token in tokens]

    @classmethod
    def of(cls, spec: AskSpec, file: str | None) -> Tokens:
        """Those that a pipeline names.

        Args:
            spec: its `[ask]`.
            file: path of its file of tokens, if it has one.

        Raises:
            ConfigError: they can't be had, or can be guessed.

        """
        text = secret("[ask]", "token", file, spec.token_env)
        tokens = [] if text is None else [line.strip() for line in text.splitlines() if line.strip()]
        for token in tokens:
            if not is_shown(token):
                raise ConfigError("[ask]: a token has characters that no token has: copy it anew")
        if any(len(token) < _SHORTEST for token in tokens):
            raise ConfigError(
                f"[ask]: a token has fewer than {_SHORTEST} characters, which can be guessed; make one with "
                "`openssl rand -hex 32`"
            )
        return cls(tokens)

    def admit(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether a call with this metadata is let in."""
        if not self._tokens:
            return True
        shown = next((value for name, value in metadata if name == HEADER), "")
        text = shown if isinstance(shown, bytes) else shown.encode()
        scheme = SCHEME.encode()
        token = text[len(scheme) :].strip() if text[: len(scheme)].lower() == scheme.lower() else b""
        # Each is compared to its end, so that the time tells nothing.
        return any([hmac.compare_digest(token, known) for known in self._tokens])  # noqa: C419
