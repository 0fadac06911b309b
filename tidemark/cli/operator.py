"""Who types the commands, for the audit trail."""

from __future__ import annotations

import getpass
import os


def operator() -> str:
    """Name of the user, or their number where it has none (a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
