"""What another user could have written is not believed."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from kernels.numerics.trusted_files import closed_to_others, trusted


def test_a_folder_that_others_can_write_to_or_replace_is_not_trusted(tmp_path: Path) -> None:
    assert not trusted(tmp_path / "absent")
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    assert trusted(inner)
    inner.chmod(0o777)
    assert not trusted(inner)
    inner.chmod(0o700)
    (tmp_path / "outer").chmod(0o777)
    assert not trusted(inner)
    (tmp_path / "outer").chmod(0o1777)  # as /tmp is
    assert trusted(inner)


def found(owner: int, mode: int, group: int = 54_321) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))


def test_what_belongs_to_another_user_is_not_trusted_however_it_is_closed() -> None:
    own, stranger = os.geteuid(), os.geteuid() + 12_345
    for mode in (0o700, 0o600, 0o1777):
        assert not closed_to_others(found(stranger, mode), sticky=True)
    assert closed_to_others(found(own, 0o755), sticky=False)
    assert closed_to_others(found(0, 0o755), sticky=False)
    assert not closed_to_others(found(own, 0o775), sticky=True)  # a group of whoever
    assert not closed_to_others(found(own, 0o1777), sticky=False)


def test_the_users_own_group_is_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.struct_passwd(("ada", "", os.geteuid(), 54_321, "", "", ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    for name, members, alone in (("ada", [], True), ("ada", ["bob"], False), ("staff", [], False)):
        group = grp.struct_group((name, "", 54_321, members))
        monkeypatch.setattr(grp, "getgrgid", lambda _, group=group: group)
        assert closed_to_others(found(os.geteuid(), 0o775), sticky=False) == alone
