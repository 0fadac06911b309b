"""What a package adds is found by its name, and a broken one is told in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from outside import in_path, install

from tidemark.errors import ConfigError
from tidemark.runtime.plugins import Plugins, instance_of

GROUP: Final = "tidemark.numbers"
NUMBERS: Final = Plugins("number", GROUP, {"one": 1}, instance_of(int))
MODULES: Final = {
    "tiny.py": "TWO = 2\nTEXT = 'x'\n",
    "raises.py": "raise RuntimeError('the first line\\nthe second')\n",
    "exits.py": "import sys\nsys.exit('goodbye')\n",
    "wrong.py": "def (:\n",
}


def told(points: dict[str, str], name: str, folder: Path) -> str:
    with in_path(install(folder, "tiny", MODULES, {GROUP: points})), pytest.raises(ConfigError) as refused:
        NUMBERS.get(name)
    return str(refused.value)


def test_what_a_package_adds_is_beside_our_own_and_gone_with_the_package(tmp_path: Path) -> None:
    with in_path(install(tmp_path, "tiny", MODULES, {GROUP: {"two": "tiny:TWO"}})):
        assert NUMBERS.names() == ["one", "two"]
        assert NUMBERS.all() == {"one": 1, "two": 2}
        assert (NUMBERS.get("two"), NUMBERS.get("tiny:TWO")) == (2, 2)
    assert NUMBERS.all() == {"one": 1}


def test_nothing_of_a_package_is_imported_for_another_name(tmp_path: Path) -> None:
    with in_path(install(tmp_path, "tiny", MODULES, {GROUP: {"two": "raises:TWO"}})):
        assert (NUMBERS.get("one"), NUMBERS.names()) == (1, ["one", "two"])


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("absent:TWO", "can't be loaded: ModuleNotFoundError: No module named 'absent'"),
        ("tiny:THREE", "can't be loaded: AttributeError: module 'tiny' has no attribute 'THREE'"),
        ("raises:TWO", "can't be loaded: RuntimeError: the first line; mend"),
        ("exits:TWO", "can't be loaded: SystemExit: goodbye"),
        ("wrong:TWO", "can't be loaded: SyntaxError"),
        ("tiny:TEXT", "can't be used: it is a str, not a builtins.int"),
        ("a b c", "can't be loaded: "),
    ],
)
def test_a_broken_thing_is_told_in_a_sentence_that_names_its_package(target: str, says: str, tmp_path: Path) -> None:
    text = told({"two": target}, "two", tmp_path)
    assert text.startswith("number 'two' of package tiny ")
    assert says in text
    assert "\n" not in text


def test_a_broken_module_of_a_name_with_a_colon_is_told_too(tmp_path: Path) -> None:
    assert "number 'raises:TWO' can't be loaded: RuntimeError: the first line" in told({}, "raises:TWO", tmp_path)
    assert "number ':' can't be loaded" in told({}, ":", tmp_path / "other")


def test_an_unknown_name_has_the_nearest_known_as_its_remedy(tmp_path: Path) -> None:
    assert told({"two": "tiny:TWO"}, "Twoo", tmp_path) == "there is no number 'Twoo'; did you mean 'two'?"


def test_no_package_takes_a_name_of_ours_or_of_another_package(tmp_path: Path) -> None:
    site = install(tmp_path, "tiny", MODULES, {GROUP: {"one": "tiny:TWO", "two": "tiny:TWO"}})
    install(tmp_path, "other", {}, {GROUP: {"two": "tiny:TWO"}})
    with in_path(site):
        assert NUMBERS.get("one") == 1
        with pytest.raises(ConfigError, match="number 'one' of package tiny: Tidemark has one of this name"):
            NUMBERS.all()
        with pytest.raises(ConfigError, match="'two' is added more than once, by other and tiny; uninstall one"):
            NUMBERS.get("two")


@pytest.mark.parametrize("name", ["Two", "t\x1b[31m", "t" * 61, "2", "two words"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with (
        in_path(install(tmp_path, "tiny", MODULES, {GROUP: {name: "tiny:TWO"}})),
        pytest.raises(ConfigError) as refused,
    ):
        NUMBERS.all()
    assert "a name begins with a small letter" in str(refused.value)
    assert "\x1b" not in str(refused.value)
