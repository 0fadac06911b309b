"""The pictures of terminals in the documentation are of what the programs show now."""

from __future__ import annotations

import pytest

from tools.captures import FOLDER, captures

PICTURES = captures()
PAGE = (FOLDER.parents[1] / "tutorial" / "screens.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_of_what_is_shown_now(name: str) -> None:
    path = FOLDER / f"{name}.svg"
    assert path.is_file(), "draw it: python tools/captures.py"
    assert path.read_text(encoding="utf-8") == PICTURES[name], "it shows something else: python tools/captures.py"


def test_every_picture_is_on_the_page_and_no_other_is_kept() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(PICTURES)
    assert all(f"captures/{name}.svg" in PAGE for name in PICTURES)


def test_a_picture_needs_nothing_from_elsewhere() -> None:
    for name, picture in PICTURES.items():
        links = picture.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http" not in links, name
        assert "url(" not in links.replace("url(#capture", ""), name
