"""Tiny tokenizers, trained here, and chat templates of the kinds that models have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_nb.data.templates import Template, resolve_template
from lora_nb.data.tokens import Encoder

CORPUS = [
    "The capital of France is Paris. What is the capital of Spain? It is Madrid.",
    "User: hello there! Assistant: hello, how are you today?\n\nI am fine.\n",
    "system user assistant tool model think answer question\nassistant\nuser\nsystem\n",
    "Größe, naïve, 日本語 text and emoji 🙂🙃 also occur here: 1 2 3 4 5 6 7 8 9 10",
    '{"name": "weather", "arguments": {"city": "Paris"}} <think> </think> <tool_call>',
]
SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<s>",
    "</s>",
    "<think>",
    "</think>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|eot|>",
]

_CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}"
    "{%- for c in m.tool_calls or [] %}{{ '<tool_call>\n' + (c | tojson) + '\n</tool_call>' }}"
    "{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
TEMPLATES = {
    "chatml": _CHATML,
    # A system message of its own where there is none, and tools.
    "default-system": (
        "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe kind.' }}"
        "{%- if tools %}{{ ' Tools: ' + (tools | tojson) }}{%- endif %}{{ '<|im_end|>\n' }}"
        "{%- endif %}" + _CHATML
    ),
    # Alternation enforced, the assistant is called model, contents trimmed.
    "gemma": (
        "{{ bos_token }}{%- if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{%- endif %}"
        "{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant') }}{%- endif %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' "
        "+ (m.content | trim) + '<end_of_turn>\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{%- endif %}"
    ),
    # No generation prompt, the end mark is the EOS.
    "mistral": (
        "{{ bos_token }}{%- for m in messages %}{%- if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + ' [/INST]' }}{%- else %}{{ ' ' + m.content + eos_token }}"
        "{%- endif %}{%- endfor %}"
    ),
    # Thoughts are taken out of earlier turns, and the last one gets empty ones.
    "qwen3": (
        "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
        "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
        "{%- for m in messages %}{%- if m.role == 'assistant' %}"
        "{%- set c = m.content %}{%- set r = '' %}{%- if '</think>' in c %}"
        "{%- set r = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{%- set c = c.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
        "{{ '<|im_start|>assistant\n' }}{%- if loop.index0 > ns.last %}"
        "{{ '<think>\n' + r + '\n</think>\n\n' }}{%- endif %}{{ c + '<|im_end|>\n' }}"
        "{%- else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif %}"
        "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
    ),
    # The generation prompt opens a thought that no training row has.
    "open-thought": (
        "{{ bos_token }}{%- for m in messages %}{%- set c = m.content %}"
        "{%- if m.role == 'assistant' and '</think>' in c %}"
        "{%- set c = c.split('</think>')[-1] %}{%- endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + c + '<|im_end|>' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{%- endif %}"
    ),
    # Plain words: tokens may merge across the joint, EOS only at the very end.
    "plain": (
        "{%- for m in messages %}{{ m.role + ':' + m.content }}"
        "{%- if not loop.last %}{{ '\n' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '\nassistant:' }}{%- else %}{{ eos_token }}{%- endif %}"
    ),
}


@dataclass(frozen=True)
class Options:
    """The data options that matter here, with mlx-lm's defaults."""

    data: str = "data"
    hf_dataset: dict[str, Any] | list[dict[str, Any]] | None = None
    mask_prompt: bool = False
    train_on: Literal["all", "completions", "assistant"] | None = None
    prompt_feature: str = "prompt"
    completion_feature: str = "completion"
    chat_feature: str = "messages"
    text_feature: str = "text"
    max_seq_length: int = 2048
    long_rows: Literal["cut", "split", "drop", "error"] = "cut"
    batch_size: int = 2
    split: str | None = None
    split_seed: int = 0


def byte_tokenizer(chat_template: str | None = None, **special: str) -> Any:
    """A byte-level BPE of some 400 tokens that merges within words, with trimmed offsets."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 3, trainer)
    names = {"bos_token": "<s>", "eos_token": "<|im_end|>", **special}
    names = {key: name for key, name in names.items() if name}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    tokenizer.chat_template = chat_template
    return tokenizer


def piece_tokenizer(chat_template: str | None = None) -> Any:
    """A Llama-like tokenizer: `▁` for blanks, one in front of every piece, byte fallback, BOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", *SPECIALS, *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def encoder_of(tokenizer: Any, template: Template | None = None, **options: Any) -> Encoder:
    """An encoder with the given options and the tokenizer's own template (or ChatML)."""
    return Encoder(tokenizer, Options(**options), template or resolve_template(tokenizer, None))


def write(folder: Path, name: str, *lines: str | bytes) -> Path:
    """A file of these lines (UTF-8, LF)."""
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def pieces_of(tokenizer: Any, encoded: Any) -> list[tuple[str, bool]]:
    """Each token's text and whether it is trained."""
    return [
        (tokenizer.decode([int(i)]), bool(t))
        for i, t in zip(encoded.ids, encoded.trained, strict=True)
    ]


def trained_text(tokenizer: Any, encoded: Any) -> str:
    """The trained tokens as one text; gaps between them are written `|`."""
    parts: list[str] = []
    run: list[int] = []
    for number, is_trained in zip(encoded.ids.tolist(), encoded.trained.tolist(), strict=True):
        if is_trained:
            run.append(number)
        elif run:
            parts.append(tokenizer.decode(run))
            run = []
    if run:
        parts.append(tokenizer.decode(run))
    return "|".join(parts)
