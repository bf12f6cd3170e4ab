"""The README's pictures: there, small, in two themes, and in words for those who don't see them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "docs" / "pictures"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_BYTES = 150_000
LEAST_WORDS = 10


class Pictures(HTMLParser):
    """The pictures of a text: file in light, file in dark, words."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._dark = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "source":
            assert given["media"] == "(prefers-color-scheme: dark)"
            self._dark = given["srcset"]
        if tag == "img":
            self.found.append((given["src"], self._dark, given.get("alt", "")))
            self._dark = ""


def pictures() -> list[tuple[str, str, str]]:
    parser = Pictures()
    parser.feed(README)
    return parser.found


@pytest.mark.parametrize(
    ("light", "dark", "words"), pictures(), ids=[Path(light).stem for light, _, _ in pictures()]
)
def test_a_picture_comes_in_two_themes_with_words(light: str, dark: str, words: str) -> None:
    assert light.endswith("-light.png")
    assert dark == light.replace("-light.png", "-dark.png")
    for path in (ROOT / light, ROOT / dark):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert len(words.split()) >= LEAST_WORDS


def test_every_picture_is_small_and_shown() -> None:
    shown = {path for light, dark, _ in pictures() for path in (light, dark)}
    shown |= set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README))
    kept = {path.relative_to(ROOT).as_posix(): path for path in PICTURES.iterdir()}
    assert kept.keys() == shown
    assert "docs/pictures/quickstart-light.png" in kept
    large = {name for name, path in kept.items() if path.stat().st_size > MOST_BYTES}
    assert large == set()


def test_the_first_screen_has_one_picture() -> None:
    first, _, rest = README.partition("\n## ")
    assert (first.count("<img"), "<img" in rest) == (1, True)
