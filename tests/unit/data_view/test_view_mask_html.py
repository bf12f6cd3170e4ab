"""The mask view can be read without scripts, without styles and without colours."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from lora_nb.data.masks import MaskedRow, Token, mask_of
from lora_nb.display.mask_view import LONGEST, MaskView
from tests.unit.data.kit import encoder_of
from tests.unit.data_view.rows import HOSTILE

_HARMLESS = {"div", "b", "pre", "u", "s", "span", "i", "wbr"}


class Page(HTMLParser):
    """The elements and texts of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def view(*tokens: Token, **values: Any) -> MaskView:
    about: dict[str, Any] = {
        "where": "train.jsonl:18", "kind": "chat", "target": "all", "template": "model", "limit": 64
    }  # fmt: skip
    return MaskView(MaskedRow(**about, tokens=tokens, **values), "train row 17 (train.jsonl:18)")


SMALL = view(
    Token(1, "<|user|>", "masked", True),
    Token(5, "hi there\n", "masked"),
    Token(7, "a\tb", "trained"),
    Token(9, " ", "trained"),
    Token(8, "🙂", "trained"),
    Token(8, "", "trained"),
    Token(3, "gone\u202e\x00", "cut"),
)


def test_the_text_marks_what_is_trained_and_cut() -> None:
    assert str(SMALL) == repr(SMALL)
    assert str(SMALL) == (
        "train row 17 (train.jsonl:18)\n"
        "chat, 7 tokens · 4 trained · 2 masked · 1 cut off at 64\n"
        "\n"
        "<|user|>hi there\n"
        "[a\tb 🙂]{-gone\\u202e\\x00-}"
    )
    assert SMALL.text.startswith("<|user|>hi there\na\tb 🙂gone")


def test_every_token_has_its_id_and_state_to_point_at() -> None:
    titles = [attrs["title"] for _, attrs in Page(SMALL.html()).elements if "title" in attrs]
    assert titles == [
        "1 · masked · special", "5 · masked", "7 · trained", "9 · trained", "8 · trained",
        "8 · trained · part of the character before it", "3 · cut",
    ]  # fmt: skip


def test_states_can_be_told_without_styles() -> None:
    bare = re.sub(r' style="[^"]*"', "", SMALL.html())
    block = bare[bare.index("<pre>") :]
    assert re.search(r"<u>(?:(?!</u>).)*a(?:(?!</u>).)*b", block, re.DOTALL)
    assert re.search(r"<s>(?:(?!</s>).)*gone", block, re.DOTALL)
    assert "⏎" in block
    assert "·" in block
    assert "→</span>\t" in block
    for word in ("trained: ", "masked: ", "cut off: ", "special token"):
        assert word in bare


def test_the_legend_names_only_what_is_there() -> None:
    page = view(Token(5, "x", "trained")).html()
    assert "trained: " in page
    assert "cut off" not in page
    assert "special token" not in page


def test_line_breaks_are_kept() -> None:
    page = view(Token(5, "one\n\ntwo\n", "masked")).html()
    block = page[page.index("<pre") :]
    assert block.count("\n") == 3


def test_nothing_of_a_row_becomes_html() -> None:
    encoder = encoder_of(_tokenizer())
    row = {"prompt": HOSTILE, "completion": HOSTILE}
    made = mask_of(encoder, row, HOSTILE)
    page = MaskView(
        MaskedRow(**{**vars(made), "note": HOSTILE}),  # as an error message may quote
        HOSTILE,
    ).html()
    assert {tag for tag, _ in Page(page).elements} <= _HARMLESS
    attributes = {name for _, attrs in Page(page).elements for name in attrs}
    assert attributes <= {"class", "style", "title"}
    assert 'class="tex2jax_ignore mathjax_ignore"' in page
    shown = "".join(Page(page).texts).replace("·", " ")
    assert HOSTILE in shown


def test_a_long_row_is_shortened_and_says_so() -> None:
    tokens = [Token(i, f"{i} ", "masked" if i < 3000 else "trained") for i in range(9000)]
    long = view(*tokens)
    page = html.unescape(long.html())
    assert long.html().count("title=") <= LONGEST
    assert str(long).count("tokens left out here") == page.count("tokens left out here") == 2
    assert "… 2,440 tokens left out here (2,440 masked) …" in str(long)
    assert "… 5,440 tokens left out here (5,440 trained) …" in str(long)
    for number in (0, 499, 2940, 2999, 3000, 3059, 8500, 8999):
        assert f'title="{number} ·' in long.html()
    for number in (500, 2939, 3060, 8499):
        assert f'title="{number} ·' not in long.html()
    assert long.tokens.shape == (9000, 4)


def test_a_long_row_of_many_turns_stays_within_bounds() -> None:
    states = ["masked", "trained"]
    tokens = [Token(i, "x", states[i // 50 % 2]) for i in range(20_000)]  # type: ignore[arg-type]
    assert view(*tokens).html().count("title=") <= LONGEST


def test_a_row_just_short_enough_is_whole() -> None:
    tokens = [Token(i, "x", "masked") for i in range(LONGEST)]
    assert view(*tokens).html().count("title=") == LONGEST
    assert "left out" not in str(view(*tokens))


def test_sequences_of_a_split_row_are_told() -> None:
    tokens = [Token(i, "x", "trained") for i in range(10)]
    page = view(*tokens, starts=(4, 7)).html()
    assert "split into 3 sequences" in page
    assert page.index("── sequence 2 ──") < page.index("── sequence 3 ──")


def test_why_a_row_is_not_trained_is_said() -> None:
    made = view(Token(1, "x", "masked"), note="the row has no answer.")
    assert "Not trained: the row has no answer." in str(made)
    assert "Not trained: the row has no answer." in made.html()


def test_tokens_as_a_frame() -> None:
    frame = SMALL.tokens
    assert list(frame.columns) == ["id", "text", "state", "special"]
    assert frame.iloc[2].tolist() == [7, "a\tb", "trained", False]


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\u200b", "\u202e", "\ufeff", "\ud800"])
def test_hidden_characters_are_written_out(char: str) -> None:
    made = view(Token(1, f"a{char}b", "masked"))
    assert char not in made.html()
    assert char not in str(made)
    made.html().encode()


def _tokenizer() -> Any:
    from tests.unit.data.kit import TEMPLATES, byte_tokenizer

    return byte_tokenizer(TEMPLATES["chatml"])
