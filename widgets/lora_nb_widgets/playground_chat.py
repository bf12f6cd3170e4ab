"""A conversation with a model, with its adapter, or with both: what was said, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_nb.display.tables import escape, wrapper
from lora_nb.display.words import gigabytes, plain, rate

__all__ = ["Answer", "Chat", "Turn", "turn_html", "words_of"]

Message = dict[str, str]


@dataclass
class Answer:
    """What was said under a label so far; `stats` come with its end."""

    source: str
    text: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = False


@dataclass
class Turn:
    """A prompt and what was answered, by label."""

    prompt: str
    answers: dict[str, Answer]


@dataclass
class Chat:
    """The turns of a conversation, the oldest first."""

    turns: list[Turn] = field(default_factory=list)

    def history(self, label: str) -> list[Message]:
        """What was said between user and the one of this label, who knows only its own answers."""
        messages: list[Message] = []
        for turn in self.turns:
            if label in turn.answers:
                messages.append({"role": "user", "content": turn.prompt})
                messages.append({"role": "assistant", "content": turn.answers[label].text})
        return messages

    def html(self, *, numbers: bool = True) -> str:
        """All turns, escaped; without `numbers` nothing that differs from one time to the next."""
        return "".join(turn_html(turn, numbers=numbers) for turn in self.turns)


_TEXT = (
    "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;font-family:monospace;line-height:1.4;margin:0;"
    "color:inherit;background:transparent;"
)
_BAR = "border-left:3px solid var(--jp-brand-color1,#1976d2);padding-left:9px;"
_SIDES = "display:flex;flex-wrap:wrap;gap:6px 20px;margin:4px 0 14px 0;"
_SIDE = "flex:1 1 260px;min-width:0;"
_FAINT = "opacity:0.8;font-size:90%;"


def turn_html(turn: Turn, *, numbers: bool = True) -> str:
    """A turn: the prompt, and below it the answers side by side."""
    sides = "".join(_side(answer, numbers=numbers) for answer in turn.answers.values())
    return wrapper(
        f'<div style="{_BAR}"><pre style="{_TEXT}">{_shown(turn.prompt)}</pre></div>',
        f'<div style="{_SIDES}">{sides}</div>',
    )


def _side(answer: Answer, *, numbers: bool) -> str:
    waiting = "" if answer.text or answer.is_over else "…"
    told = words_of(answer.stats) if numbers and answer.is_over else ""
    below = f'<div style="{_FAINT}">{escape(told)}</div>' if told else ""
    return (
        f'<div style="{_SIDE}"><div><b>{_shown(answer.source)}</b></div>'
        f'<pre style="{_TEXT}">{_shown(answer.text)}{waiting}</pre>{below}</div>'
    )


def _shown(text: str) -> str:
    return escape(plain(text, lines=True))


_ENDS = {"length": "cut off at max_tokens", "interrupted": "stopped"}


def words_of(stats: Mapping[str, Any]) -> str:
    """Tokens, speed and memory of an answer in a line."""
    parts: Sequence[str] = []
    if "generation_tokens" in stats:
        parts = [
            f"{stats['prompt_tokens']} prompt tokens ({rate(stats['prompt_tps'])}/s)",
            f"{stats['generation_tokens']} tokens ({rate(stats['generation_tps'])}/s)",
            gigabytes(stats["peak_memory"]),
        ]
    end = _ENDS.get(stats.get("finish_reason") or "", "")
    return " · ".join([*parts, *([end] if end else [])])
