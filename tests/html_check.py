"""What HTML of ours may hold: a parser with a list of what is allowed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["Page", "read"]

_TAGS = {
    *("b", "br", "caption", "code", "div", "i", "img", "pre", "s", "span", "u", "wbr"),
    *("table", "tbody", "td", "th", "thead", "tr"),
}
_ATTRIBUTES = {"class", "style", "title"}
_MORE = {
    "img": {"src", "alt", "width", "height"},
    # pandas' tables
    "table": {"border"},
    "tr": {"style"},
    "th": {"scope", "colspan", "rowspan"},
    "td": {"colspan", "rowspan"},
}
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
_BAD_STYLE = re.compile(r"url|expression|import|behavior|javascript|@|\\|<", re.IGNORECASE)


class Page(HTMLParser):
    """The tags of a page in order, its text, its attributes' values, and what isn't allowed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {' '.join(name for name, _ in attrs)}")
        if tag not in _TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        self.values.append(value)
        if name not in _ATTRIBUTES | _MORE.get(tag, set()):
            self.faults.append(f"<{tag} {name}>")
        if name == "src" and not _PICTURE.fullmatch(value):
            self.faults.append(f"src={value[:60]}")
        if name == "style" and _BAD_STYLE.search(value):
            self.faults.append(f"style={value[:60]}")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")
        if tag not in _TAGS:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data[:60]}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl[:60]}>")

    def unknown_decl(self, data: str) -> None:
        self.faults.append(f"<![{data[:60]}]>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data[:60]}>")


def read(html: str) -> Page:
    """A page as its parts."""
    page = Page()
    page.feed(html)
    page.close()
    return page
