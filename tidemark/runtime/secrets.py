"""Secrets, from a file or an environment variable that the pipeline file names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tidemark.errors import ConfigError

_MOST: Final = 65_536


def secret(owner: str, what: str, file: str | None, variable: str | None) -> str | None:
    """A secret.

    Args:
        owner: whose it is, for the error, such as `source 'x'`.
        what: it is, such as `token`: the options are `WHAT_file` and `WHAT_env`.
        file: that holds it, its last line end apart.
        variable: of the environment that holds it.

    Returns:
        The secret, None if neither is named.

    Raises:
        ConfigError: it can't be had, or is empty.

    """
    if file is not None:
        try:
            with Path(file).expanduser().open(encoding="utf-8") as stream:
                text = stream.read(_MOST).rstrip("\r\n")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"{owner}: {what}_file {file} can't be read ({error}); correct it") from error
    elif variable is not None:
        text = os.environ.get(variable, "")
    else:
        return None
    if not text.strip():
        named = f"{what}_file {file}" if file is not None else f"{what}_env {variable}"
        raise ConfigError(f"{owner}: {named} is empty or not set; put the {what} there")
    return text
