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
from lora_nb.runs.adapters import find_adapter, is_adapter, run_of
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.places import base_for
from lora_nb.runs.shippable import model_of
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.rows import (
    SomeRows,
    check_base,
    data_options,
    find_base,
    read_some,
    template_for,
)
from lora_nb.worker.session import Session

__all__ = ["compare"]


@dataclass(frozen=True)
class _Contender:
    """What answers: a model's folder, the adapter on it if there is one, and its template."""

    name: str
    model: Path
    adapter: Path | None
    template: str | None


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
    contenders, options = _resolved(config)
    for each in contenders:
        if each.adapter is not None:
            check_base(each.adapter, each.model, config.model or str(each.model), session.warn)
    answers: dict[str, list[dict[str, Any]]] = {}
    shown: list[dict[str, Any]] = []
    total, done = 0, 0
    for folder, template in dict.fromkeys((each.model, each.template) for each in contenders):
        session.checkpoint_if_stopped()
        model_options = _options(config, folder, template)
        ready = _ready(folder, config, options, model_options)
        total = len(contenders) * len(ready.some)
        shown = shown or _rows_of(ready)
        if ready.some.where != [row["row"] for row in shown]:
            raise LoraError(
                f"contenders: {folder} can't use the same rows as the others (their lengths differ "
                "with its tokenizer). Compare it alone."
            )
        mine = [each for each in contenders if (each.model, each.template) == (folder, template)]
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


def _resolved(config: CompareConfig) -> tuple[list[_Contender], TestConfig]:
    """Who takes part, and the rows they are given.

    Each adapter lies on its own base model, with its own template, unless others are given.
    `base` and whole models are asked as the first adapter is.
    """
    names = list(dict.fromkeys(config.contenders))
    own = {name: found for name in names if (found := _model_named(name))}
    adapters = {
        name: find_adapter(name, "contenders") for name in names if name not in ("base", *own)
    }
    runs = {name: run_of(adapter) for name, adapter in adapters.items()}
    bases = {
        name: config.model or base_for(adapter, runs[name]) for name, adapter in adapters.items()
    }
    unknown = [name for name, base in bases.items() if base is None]
    first = next(iter(adapters), "")
    base = config.model or bases.get(first)
    if unknown or (base is None and "base" in names):
        raise LoraError("model: is not given, and no adapter names its base model.")
    options = data_options(
        base or str(next(iter(own.values()))),
        config.data,
        next(filter(None, runs.values()), None),
    )
    if options is None:
        raise LoraError("data: is not given, and the run of the adapter is not known.")
    usual = config.chat_template
    if adapters:
        usual = template_for(usual, adapters[first], runs[first])
    contenders = []
    for name in names:
        adapter, model, template = adapters.get(name), bases.get(name) or base, usual
        if adapter is not None:
            template = template_for(config.chat_template, adapter, runs[name])
        folder = own.get(name) or _base_folder(str(model), adapter or adapters.get(first))
        contenders.append(_Contender(name, folder, adapter, template))
    return contenders, options


def _base_folder(name: str, adapter: Path | None) -> Path:
    return find_base(name, adapter) if adapter is not None else find_model(name)


def _model_named(name: str) -> Path | None:
    """The folder of a whole model: by its path, or by the run of fusing that has written it."""
    path = Path(name).expanduser()
    if name == "demo" or ((path / "config.json").is_file() and not is_adapter(path)):
        return find_model(name)
    return None if name == "base" or path.exists() else model_of(name)


def _options(config: CompareConfig, folder: Path, template: str | None) -> ModelOptions:
    return ModelOptions(
        model=str(folder),
        trust_remote_code=config.trust_remote_code,
        trust_sha256=config.trust_sha256,
        chat_template=template,
    )


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
