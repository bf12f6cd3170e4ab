"""Which chat template is in force: the model's, a file's, or ChatML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.limits import TooMuchError, bounded
from lora_nb.data.messages import ROLES
from lora_nb.data.tokenizer import Tokenizer, eos_ids, id_of
from lora_nb.errors import LoraError

__all__ = ["CHATML", "Template", "resolve_template"]

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{{ '<tool_call>\n' + ((call['function'] or call) | tojson) + '\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_END = "<|im_end|>"
# A real template takes thousandths of a second, and some kilobytes.
_SECONDS = 10.0
_TRIAL_SECONDS = 5.0
_MEMORY = 2_000_000_000
_LONGEST_TRIAL = 2_000_000
_TRIAL: list[dict[str, Any]] = [
    {"role": "user", "content": "How are you?"},
    {"role": "assistant", "content": "Fine."},
]
Origin = Literal["model", "file", "chatml"]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Template:
    """A chat template; `text` is None where only the tokenizer itself can render it."""

    text: str | None
    origin: Origin
    ending: tuple[int, ...] = ()
    """Ids that are added to every row, so that the model learns to stop."""
    path: str | None = field(default=None, compare=False)

    @property
    def roles(self) -> frozenset[str]:
        """The usual roles and those that the template itself names in quotes."""
        return ROLES | frozenset(re.findall(r"""['"]([A-Za-z_]{1,20})['"]""", self.text or ""))

    def render(
        self,
        tokenizer: Tokenizer,
        messages: Messages,
        tools: list[dict[str, Any]] | None = None,
        *,
        prompt: bool = False,
    ) -> str:
        """The messages as text; `prompt` adds the beginning of an answer."""
        text = self._apply(tokenizer, messages, tools, prompt, tokenize=False)
        if not isinstance(text, str):
            raise LoraError("The model's chat template did not give text. Name one in a file.")
        return text

    def tokens(
        self,
        tokenizer: Tokenizer,
        messages: Messages,
        tools: list[dict[str, Any]] | None = None,
        *,
        prompt: bool = False,
    ) -> list[int]:
        """The messages as the tokenizer's own ids, without `ending`."""
        ids = self._apply(tokenizer, messages, tools, prompt, tokenize=True)
        return [int(i) for i in ids]

    def _apply(
        self,
        tokenizer: Tokenizer,
        messages: Messages,
        tools: list[dict[str, Any]] | None,
        prompt: bool,
        *,
        tokenize: bool,
    ) -> Any:
        options: dict[str, Any] = {"tools": tools, "tokenize": tokenize, "return_dict": False}
        if prompt:
            options["add_generation_prompt"] = True
        if self.origin != "model":
            options["chat_template"] = self.text
            tokenizer = _plain(tokenizer)
        try:
            # Memory only where text is made: what makes tokens of it ends the process without.
            with bounded(_SECONDS, 0 if tokenize else _MEMORY):
                return tokenizer.apply_chat_template(messages, **options)
        except TooMuchError as error:
            raise LoraError(f"The chat template was cut off: {error}. {_OTHER}") from None
        except Exception as error:
            if type(error).__name__ == "TemplateSyntaxError":
                raise LoraError(f"The chat template is not valid Jinja: {error}") from error
            raise RowError(
                "template",
                f"the chat template refuses these messages ({_reason(error)}).",
                "Change the row, or give another template with --chat-template.",
                value=shorten([message.get("role") for message in messages]),
            ) from error


_OTHER = "Give another template with --chat-template."


def _tried(template: Template, tokenizer: Tokenizer) -> Template:
    """The template, if it copes with a short conversation in reasonable time and length."""
    try:
        with bounded(_TRIAL_SECONDS):
            text = template.render(tokenizer, _TRIAL)
    except TooMuchError as error:
        raise LoraError(f"The chat template was cut off: {error}. {_OTHER}") from None
    except RowError:
        # Some take other roles only; the rows will show it.
        return template
    if len(text) > _LONGEST_TRIAL:
        raise LoraError(
            f"The chat template makes {len(text):,} characters of a few words. {_OTHER}"
        )
    return template


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer under a wrapper that renders chats by a function of its own."""
    if getattr(tokenizer, "_chat_template", None) is None:
        return tokenizer
    inner: Tokenizer = getattr(tokenizer, "_tokenizer", tokenizer)
    return inner


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


def resolve_template(tokenizer: Tokenizer, path: str | None) -> Template:
    """The template of a file if one is named, else the model's, else ChatML.

    Adapters that were trained with our ChatML, and models that they were fused into, have it as
    their own; it stays ChatML. With ChatML a row also gets the end-of-sequence token, unless
    `<|im_end|>` already is one.
    Raises LoraError for a file that cannot be read or is not a template.
    """
    if path is not None:
        text = _from_file(path)
        _compile(text, path)
        if text.strip() == CHATML:
            return _chatml(tokenizer, "file", path)
        return _tried(Template(text, "file", path=path), tokenizer)
    if tokenizer.chat_template is not None or getattr(tokenizer, "has_chat_template", False):
        own = tokenizer.chat_template
        if isinstance(own, str) and own.strip() == CHATML:
            return _chatml(tokenizer, "model")
        return _tried(Template(own if isinstance(own, str) else None, "model"), tokenizer)
    return _chatml(tokenizer, "chatml")


def _chatml(tokenizer: Tokenizer, origin: Origin, path: str | None = None) -> Template:
    ends = eos_ids(tokenizer)
    eos = tokenizer.eos_token_id
    taught = id_of(tokenizer, _END) in ends
    ending = () if taught or eos is None else (int(eos),)
    return Template(CHATML, origin, ending, path)


def _from_file(path: str) -> str:
    place = Path(path).expanduser()
    try:
        text = place.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LoraError(f"Chat template {place}: is not UTF-8 text.") from error
    except OSError as error:
        raise LoraError(
            f"Chat template {place}: cannot be read ({error.strerror}). "
            "--chat-template wants the path of a Jinja file."
        ) from error
    if not text.strip():
        raise LoraError(f"Chat template {place}: is empty.")
    return text


def _compile(text: str, path: str) -> None:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment as Environment
    except ImportError:
        return
    environment = Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        environment.from_string(re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", text))
    except Exception as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else path
        raise LoraError(f"Chat template {place}: is not valid Jinja ({error}).") from error
