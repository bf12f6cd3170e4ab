"""Text from a model, piece by piece, with the template that training uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import stream_generate
from mlx_lm.sample_utils import make_sampler
from mlx_lm.tokenizer_utils import TokenizerWrapper

from lora_nb.config import GenerateConfig
from lora_nb.data.templates import CHATML, Template
from lora_nb.errors import NO_PROMPT, LoraError

__all__ = ["Answer", "generate", "prompt_tokens"]

_CHATML_END = "<|im_end|>"


@dataclass(frozen=True)
class Answer:
    """A piece of text, and with the last one how it went (tokens, tokens/s, GB, why it ended)."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    prompt_tps: float = 0.0
    generation_tokens: int = 0
    generation_tps: float = 0.0
    peak_memory: float = 0.0


def prompt_tokens(
    tokenizer: TokenizerWrapper, config: GenerateConfig, template: Template
) -> list[int]:
    """The prompt as tokens. Raises LoraError for an empty prompt."""
    prompt = config.prompt or ""
    if not prompt.strip():
        raise LoraError(NO_PROMPT)
    if config.ignore_chat_template:
        return [int(token) for token in tokenizer.encode(prompt)]
    messages = [*(config.history or []), {"role": "user", "content": prompt}]
    if config.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": config.system_prompt})
    tokens = template.tokens(tokenizer, messages, prompt=True)
    if config.prefill_response:
        tokens += tokenizer.encode(config.prefill_response, add_special_tokens=False)
    return [int(token) for token in tokens]


def generate(
    model: nn.Module,
    tokenizer: TokenizerWrapper,
    config: GenerateConfig,
    template: Template,
    tokens: list[int] | None = None,
) -> Iterator[Answer]:
    """Pieces of the answer as they come, one for each token; the last one carries the statistics.

    A piece may be empty: not every token is text of its own.
    `tokens` are a prompt that is encoded already.
    """
    if tokens is None:
        tokens = prompt_tokens(tokenizer, config, template)
    if config.seed is not None:
        mx.random.seed(config.seed)
    # A tokenizer without this token spells it out, and its model learns to do so.
    end = _CHATML_END if template.text == CHATML and not config.ignore_chat_template else ""
    text = _Until(end)
    for response in stream_generate(
        model,
        tokenizer,
        tokens,
        max_tokens=config.max_tokens,
        sampler=_sampler(config, tokenizer),
        **_cache_options(config),
    ):
        piece = text.feed(response.text, last=response.finish_reason is not None)
        yield Answer(
            piece,
            "stop" if text.found else response.finish_reason,
            int(response.prompt_tokens),
            float(response.prompt_tps),
            int(response.generation_tokens),
            float(response.generation_tps),
            float(response.peak_memory),
        )
        if text.found:
            return


class _Until:
    """Lets text through up to a mark, and holds back what may be the mark's beginning."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._held = ""
        self.found = False

    def feed(self, text: str, *, last: bool) -> str:
        text = self._held + text
        if not self._mark:
            return text
        head, mark, _ = text.partition(self._mark)
        self.found = bool(mark)
        if mark or last:
            return head
        keep = next(
            n for n in range(len(self._mark), -1, -1) if n == 0 or text.endswith(self._mark[:n])
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _cache_options(config: GenerateConfig) -> dict[str, Any]:
    return {
        "max_kv_size": config.max_kv_size,
        "prefill_step_size": config.prefill_step_size,
        "kv_bits": config.kv_bits,
        "kv_group_size": config.kv_group_size,
        "quantized_kv_start": config.quantized_kv_start,
    }


def _sampler(config: GenerateConfig, tokenizer: TokenizerWrapper) -> Any:
    newline = tokenizer.encode("\n", add_special_tokens=False)
    return make_sampler(
        temp=config.temp,
        top_p=config.top_p,
        min_p=config.min_p,
        min_tokens_to_keep=config.min_tokens_to_keep,
        top_k=config.top_k,
        xtc_probability=config.xtc_probability,
        xtc_threshold=config.xtc_threshold,
        xtc_special_tokens=[*newline, *tokenizer.eos_token_ids],
    )
