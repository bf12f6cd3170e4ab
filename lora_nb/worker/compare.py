"""Several models and adapters on the same rows: what each answers, and its loss."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tokenizer_utils import TokenizerWrapper

from lora_nb.config import CompareConfig, GenerateConfig, ModelOptions, TestConfig
from lora_nb.core.adapters import put_on
from lora_nb.core.generate import generate
from lora_nb.core.load import find_model, load_base, load_words
from lora_nb.data.faults import RowError
from lora_nb.data.formats import to_messages, tools_of
from lora_nb.data.templates import Template, resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from lora_nb.export.fidelity import Rows, measure
from lora_nb.runs.adapters import base_of, find_adapter, is_adapter, run_of
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.rows import SomeRows, data_options, read_some, template_of
from lora_nb.worker.session import Session

__all__ = ["compare"]


@dataclass(frozen=True)
class _Contender:
    """What answers: a model's folder, and the adapter on it if there is one."""

    name: str
    model: Path
    adapter: Path | None


@dataclass(frozen=True)
class _Question:
    """A row as a prompt and the answer that is expected; no tokens where there is no prompt."""

    prompt: str
    expected: str
    tokens: list[int]


@dataclass
class _Ready:
    """The rows as one model's tokenizer and template have them."""

    words: TokenizerWrapper
    template: Template
    some: SomeRows
    questions: list[_Question]


def compare(session: Session) -> Ended:
    """Let all contenders answer; the result is the run's `comparison.json`."""
    config = session.run.config
    if not isinstance(config, CompareConfig):
        raise LoraError("This run's config.yaml is no compare config.")
    contenders, options, model_options = _resolved(config)
    answers: dict[str, list[dict[str, Any]]] = {}
    shown: list[dict[str, Any]] = []
    total, done = 0, 0
    for folder in dict.fromkeys(each.model for each in contenders):
        session.checkpoint_if_stopped()
        ready = _ready(folder, config, options, model_options)
        total = len(contenders) * len(ready.some)
        shown = shown or _rows_of(ready)
        if ready.some.where != [row["row"] for row in shown]:
            raise LoraError(
                f"contenders: {folder} can't use the same rows as the others (their lengths differ "
                "with its tokenizer). Compare it alone."
            )
        mine = [each for each in contenders if each.model == folder]
        for name, answer in _answers(ready, folder, mine, config, model_options):
            answers.setdefault(name, []).append(answer)
            done += 1
            session.emit(Progress(stage="comparing", done=done, total=total))
            session.checkpoint_if_stopped()
        gc.collect()
        mx.clear_cache()
    content = {
        "contenders": [each.name for each in contenders],
        "rows": [
            row | {"answers": [answers[each.name][number] for each in contenders]}
            for number, row in enumerate(shown)
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(session.run.comparison_path, text)
    return Ended(status="completed", message=f"{len(contenders)} contenders on {len(shown)} rows.")


def _resolved(config: CompareConfig) -> tuple[list[_Contender], TestConfig, ModelOptions]:
    """Who takes part, the rows they are given, and how the base model is loaded."""
    names = list(dict.fromkeys(config.contenders))
    own = {name: find_model(name) for name in names if name != "base" and _is_model(name)}
    adapters = {
        name: find_adapter(name, "contenders") for name in names if name not in ("base", *own)
    }
    first = next(iter(adapters.values()), None)
    base = config.model or (base_of(first) if first else None)
    if base is None and ("base" in names or adapters):
        raise LoraError("model: is not given, and no adapter names its base model.")
    run = run_of(first) if first else None
    model_options = ModelOptions(
        model=base or str(next(iter(own.values()))),
        trust_remote_code=config.trust_remote_code,
        trust_sha256=config.trust_sha256,
        chat_template=template_of(config.chat_template, run),
    )
    options = data_options(model_options.model, config.data, run)
    if options is None:
        raise LoraError("data: is not given, and the run of the adapter is not known.")
    folder = find_model(base) if base else Path()
    contenders = [_Contender(name, own.get(name, folder), adapters.get(name)) for name in names]
    return contenders, options, model_options


def _is_model(name: str) -> bool:
    path = Path(name).expanduser()
    return name == "demo" or ((path / "config.json").is_file() and not is_adapter(path))


def _ready(
    folder: Path, config: CompareConfig, options: TestConfig, model_options: ModelOptions
) -> _Ready:
    words = load_words(folder, model_options)
    template = resolve_template(words, model_options.chat_template)
    encoder = Encoder(words, options, template)
    some = read_some(options, encoder, [config.subset], config.rows, spread=False)
    return _Ready(words, template, some, [_question(row, encoder) for row in some.rows])


def _question(row: Any, encoder: Encoder) -> _Question:
    try:
        messages = to_messages(row, encoder.options, encoder.roles)
        tools = tools_of(row)
    except RowError:
        messages, tools = [], None
    last = messages[-1] if len(messages) > 1 else {}
    expected = last.get("content")
    if last.get("role") != "assistant" or not isinstance(expected, str):
        return _Question("", "", [])
    asked = str(messages[-2].get("content") or "")
    tokens = encoder.template.tokens(encoder.tokenizer, messages[:-1], tools, prompt=True)
    return _Question(asked, expected, tokens)


def _rows_of(ready: _Ready) -> list[dict[str, Any]]:
    return [
        {"row": where, "prompt": question.prompt, "expected": question.expected}
        for where, question in zip(ready.some.where, ready.questions, strict=True)
    ]


def _answers(
    ready: _Ready,
    folder: Path,
    contenders: list[_Contender],
    config: CompareConfig,
    model_options: ModelOptions,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What those of one model answer to the rows in turn."""
    model = load_base(folder, model_options).model
    for each in contenders:
        adapter = put_on(model, each.adapter) if each.adapter else None
        model.eval()
        for number, question in enumerate(ready.questions):
            encoded = ready.some.encoded[number : number + 1]
            rows = Rows(encoded, ready.some.where[number : number + 1], ready.some.source)
            loss = measure(model, rows, keep=False).loss
            text = _text(model, ready, question, config)
            exact = text.strip() == question.expected.strip() if question.tokens else None
            finite = loss if abs(loss) < float("inf") else None
            yield each.name, {"loss": finite, "exact": exact, "text": text}
        if adapter is not None:
            adapter.off()


def _text(model: nn.Module, ready: _Ready, question: _Question, config: CompareConfig) -> str:
    """The greedy answer."""
    if not question.tokens:
        return ""
    options = GenerateConfig(model=str(config.model), max_tokens=config.max_tokens)
    pieces = generate(model, ready.words, options, ready.template, question.tokens)
    return "".join(piece.text for piece in pieces)
