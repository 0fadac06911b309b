"""Whether a file or folder can only have been written by this user or root: before what it holds is believed or run."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def trusted(folder: Path) -> bool:
    """Whether a folder is there, and nobody but this user and root can write to it or put another in its place.

    Args:
        folder: what is asked about; links on the way to it are followed.

    Returns:
        False also where it can't be told.

    """
    try:
        real = folder.resolve(strict=True)
        found = [place.stat() for place in (real, *real.parents)]
    except OSError:
        return False
    return closed_to_others(found[0], sticky=False) and all(closed_to_others(each, sticky=True) for each in found[1:])


def closed_to_others(found: os.stat_result, *, sticky: bool) -> bool:
    """Whether a folder or file belongs to this user or root, and nobody else may write to it.

    Args:
        found: what is known of it.
        sticky: others may write where they can't rename what is not theirs, as in `/tmp`.

    Returns:
        False also for a group's, unless it is the user's own group, of nobody else.

    """
    if found.st_uid not in {0, os.geteuid()}:
        return False
    others = found.st_mode & _OTHERS_WRITE
    if others == stat.S_IWGRP and _alone_in(found.st_gid):
        return True
    return not others or (sticky and bool(found.st_mode & stat.S_ISVTX))


def _alone_in(group: int) -> bool:
    """Whether a group is the one that was made with the user, and has no other member."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and not set(entry.gr_mem) - {user.pw_name}
