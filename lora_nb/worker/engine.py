"""The resident engine: keeps a model in memory, generates on request and encodes rows.

Requests come as JSON lines on standard input, answers go as JSON lines to standard output. It
ends when its input does, or when it has been idle for a while.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import mlx.core as mx
from mlx_lm.tokenizer_utils import TokenizerWrapper

from lora_nb.config import DataConfig, GenerateConfig, ModelOptions, load
from lora_nb.core.adapters import Adapter, put_on
from lora_nb.core.generate import generate
from lora_nb.core.load import Loaded, find_model, load_base, load_words
from lora_nb.core.watchdog import set_farewell
from lora_nb.data.masks import mask_of
from lora_nb.data.templates import resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from lora_nb.redact import redacted
from lora_nb.runs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    PEFT_WEIGHTS,
    find_adapter,
    template_of,
)

__all__ = ["serve"]

_IDLE_SECONDS = 600.0
_WORD_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py")

Stamp = tuple[tuple[str, int, int], ...]
Message = dict[str, Any]


@dataclass
class _Desk:
    """Requests in, answers out, and the numbers of requests that were taken back."""

    input: TextIO
    output: TextIO
    waiting: queue.Queue[Message | None] = field(default_factory=queue.Queue)
    cancelled: set[int] = field(default_factory=set)
    is_deserted: bool = False
    """Whether the input has ended, so that nobody waits for an answer any more."""

    def listen(self) -> None:
        for line in self.input:
            message = json.loads(line)
            if message["op"] == "cancel":
                self.cancelled.add(message["id"])
            else:
                self.waiting.put(message)
        self.is_deserted = True
        self.waiting.put(None)

    def answer(self, number: int, kind: str, **values: Any) -> None:
        self.output.write(json.dumps({"id": number, "kind": kind, **values}) + "\n")
        self.output.flush()


def serve() -> int:
    """Answer requests until the input ends or nothing has come for a while."""
    desk = _Desk(_private_input(), _private_output())
    threading.Thread(target=desk.listen, daemon=True).start()
    memory = _Memory()
    idle = float(os.environ.get("LORA_NB_ENGINE_IDLE") or _IDLE_SECONDS)
    while True:
        try:
            message = desk.waiting.get(timeout=idle)
        except queue.Empty:
            return 0
        if message is None:
            return 0
        _carry_out(desk, memory, message)


def _private_input() -> TextIO:
    """The real standard input; whatever else asks there finds nothing."""
    given = os.fdopen(os.dup(0), "r", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return given


def _private_output() -> TextIO:
    """The real standard output; whatever else prints goes to the log."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return output


def _carry_out(desk: _Desk, memory: _Memory, message: Message) -> None:
    number: int = message["id"]
    set_farewell(lambda text: desk.answer(number, "error", message=text))
    try:
        _go_to(message["folder"])
        if message["op"] == "encode":
            _encode(desk, memory, message)
        else:
            config = load(GenerateConfig, flags=message["config"])
            for label in message["labels"]:
                _generate(desk, memory, number, config, label)
        desk.answer(number, "end")
    except LoraError as problem:
        desk.answer(number, "error", message=str(problem))
    except Exception as problem:  # noqa: BLE001 (the engine lives on and tells it)
        traceback.print_exc()
        text = redacted(f"Unexpected {type(problem).__name__}: {problem}")
        desk.answer(number, "error", message=text)


def _go_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as problem:
        raise LoraError(f"The working folder {folder} is gone ({problem.strerror}).") from None


def _generate(
    desk: _Desk, memory: _Memory, number: int, config: GenerateConfig, label: str
) -> None:
    loaded, tokenizer = memory.ready(config, with_adapter=label != "base")
    own = config.chat_template
    if own is None and config.adapter_path and label != "base":
        own = template_of(find_adapter(config.adapter_path))
    template = resolve_template(tokenizer, own)
    with _extra_ends(tokenizer, config):
        for piece in generate(loaded.model, tokenizer, config, template):
            if piece.text:
                desk.answer(number, "piece", label=label, text=piece.text)
            if number in desk.cancelled or desk.is_deserted:
                desk.answer(number, "done", label=label, stats={"finish_reason": "interrupted"})
                break
            if piece.finish_reason is not None:
                stats = {key: value for key, value in asdict(piece).items() if key != "text"}
                desk.answer(number, "done", label=label, stats=stats)


def _encode(desk: _Desk, memory: _Memory, message: Message) -> None:
    config = load(DataConfig, flags=message["config"])
    tokenizer = memory.words(config)
    encoder = Encoder(tokenizer, config, resolve_template(tokenizer, config.chat_template))
    row = mask_of(encoder, message["row"], message["where"])
    desk.answer(message["id"], "row", row=row.to_json())


@contextmanager
def _extra_ends(tokenizer: TokenizerWrapper, config: GenerateConfig) -> Iterator[None]:
    """`extra_eos_token` for one generation only."""
    before = set(tokenizer.eos_token_ids)
    for token in config.extra_eos_token or []:
        if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
            raise LoraError(f"extra_eos_token: '{token}' is no token of this model.")
        tokenizer.add_eos_token(token)
    try:
        yield
    finally:
        tokenizer.eos_token_ids.intersection_update(before)


@dataclass
class _Memory:
    """The model that is loaded, the adapter that lies on it, and a tokenizer for rows."""

    key: tuple[str, Stamp] | None = None
    loaded: Loaded | None = None
    tokenizer: TokenizerWrapper | None = None
    adapter_key: tuple[str, Stamp] | None = None
    adapter: Adapter | None = None
    words_key: tuple[str, Stamp] | None = None
    row_words: TokenizerWrapper | None = None

    def words(self, config: DataConfig) -> TokenizerWrapper:
        """The tokenizer of a config, loaded anew only if its files have changed."""
        if config.model is None:
            raise LoraError("model: is not given, so there is no tokenizer.")
        path = find_model(config.model)
        key = (_asked(path, config), _stamp(path, *_WORD_FILES))
        if key != self.words_key or self.row_words is None:
            self.row_words = load_words(path, config)
            self.words_key = key
        return self.row_words

    def ready(
        self, config: GenerateConfig, *, with_adapter: bool
    ) -> tuple[Loaded, TokenizerWrapper]:
        """The model of a config, with or without its adapter; loaded anew only if changed."""
        path = find_model(config.model)
        key = (_asked(path, config), _stamp(path, "*.json", "*.safetensors", "*.py"))
        if key != self.key:
            self._forget()
            self.tokenizer = load_words(path, config)
            self.loaded = load_base(path, config)
            self.key = key
        assert self.loaded is not None
        assert self.tokenizer is not None
        if with_adapter and config.adapter_path:
            self._put_on(self.loaded, find_adapter(config.adapter_path))
        elif self.adapter is not None:
            self.adapter.off()
        return self.loaded, self.tokenizer

    def _put_on(self, loaded: Loaded, folder: Path) -> None:
        key = (str(folder.resolve()), _stamp(folder, ADAPTER_CONFIG, ADAPTER_WEIGHTS, PEFT_WEIGHTS))
        if self.adapter is not None:
            if key == self.adapter_key:
                self.adapter.on()
                return
            self.adapter.off()
            self.adapter = self.adapter_key = None
        self.adapter = put_on(loaded.model, folder)
        self.adapter_key = key

    def _forget(self) -> None:
        """Free the old model before the new one is loaded."""
        self.key = self.loaded = self.tokenizer = self.adapter_key = self.adapter = None
        gc.collect()
        mx.clear_cache()


def _asked(path: Path, config: ModelOptions) -> str:
    """A model and what of its code may run: what was agreed to once isn't for the next request."""
    return f"{path} {config.trust_remote_code} {config.trust_sha256}"


def _stamp(folder: Path, *patterns: str) -> Stamp:
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
