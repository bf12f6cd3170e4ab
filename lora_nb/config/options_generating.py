"""The options of what answers prompts, declared once, as those of training are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lora_nb.config.declaring import (
    STRICT,
    Count,
    Number,
    Opt,
    RunName,
    Seed,
    Share,
    Size,
    spelled,
)
from lora_nb.config.options import ModelOptions

__all__ = ["CompareConfig", "GenerateConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateConfig(ModelOptions):
    """Generate text from a prompt, with a base model, an adapter, or both side by side."""

    adapter_path: Annotated[str | None, Opt("Model", completes="adapter")] = None
    """Adapter folder or run to generate with (the base model if not given)."""
    prompt: Annotated[str | None, Opt("Prompt", ("-p",))] = None
    """The prompt (the words on the line, or the body of the cell)."""
    system_prompt: Annotated[str | None, Opt("Prompt", metavar="TEXT")] = None
    """System message before the prompt."""
    history: Annotated[list[dict[str, str]] | None, Opt("Prompt", flag=False)] = None
    """Earlier messages of the conversation, in turns of user and assistant: role and content."""
    prefill_response: Annotated[str | None, Opt("Prompt", metavar="TEXT")] = None
    """Beginning of the answer, given to the model."""
    ignore_chat_template: Annotated[bool, Opt("Prompt")] = False
    """Give the prompt to the model as it is."""
    max_tokens: Annotated[Count, Opt("Sampling", ("-m",))] = 100
    """Longest answer in tokens."""
    temp: Annotated[Annotated[Number, Field(ge=0, allow_inf_nan=False)], Opt("Sampling")] = 0.0
    """Sampling temperature; 0 takes the likeliest token each time."""
    top_p: Annotated[Share, Opt("Sampling")] = 1.0
    """Sample among the likeliest tokens that hold this probability together."""
    min_p: Annotated[Share, Opt("Sampling")] = 0.0
    """Leave out tokens less likely than this share of the likeliest one."""
    top_k: Annotated[Size, Opt("Sampling")] = 0
    """Sample among this many likeliest tokens (0 = all)."""
    xtc_probability: Annotated[Share, Opt("Sampling")] = 0.0
    """Probability of XTC sampling at each token."""
    xtc_threshold: Annotated[Annotated[Number, Field(ge=0, le=0.5)], Opt("Sampling")] = 0.1
    """Threshold a token's probability must reach to be taken out by XTC."""
    min_tokens_to_keep: Annotated[Count, Opt("Sampling")] = 1
    """Tokens that --min-p always keeps."""
    seed: Annotated[Seed | None, Opt("Sampling")] = None
    """Seed of the sampling (another one each time if not given)."""
    extra_eos_token: Annotated[list[str] | None, Opt("Sampling", metavar="TOKEN,TOKEN")] = None
    """Further tokens that end the answer."""
    max_kv_size: Annotated[Count | None, Opt("Memory")] = None
    """Longest key-value cache in tokens (no limit if not given)."""
    kv_bits: Annotated[Literal[2, 3, 4, 6, 8] | None, BeforeValidator(spelled), Opt("Memory")] = (
        None
    )
    """Bits of a quantised key-value cache (it is not quantised if not given)."""
    kv_group_size: Annotated[Literal[32, 64, 128], BeforeValidator(spelled), Opt("Memory")] = 64
    """Group size of a quantised key-value cache."""
    quantized_kv_start: Annotated[Size, Opt("Memory")] = 5000
    """Token from which on the key-value cache is quantised."""
    prefill_step_size: Annotated[Count, Opt("Memory")] = 2048
    """Prompt tokens processed at a time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CompareConfig(ModelOptions):
    """Let models and adapters answer the same rows, side by side."""

    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Base model of all adapters (each one's own if not given)."""
    contenders: Annotated[list[str], Field(min_length=1), Opt("Model", flag=False)] = Field(
        default_factory=lambda: ["base", "adapters"]
    )
    """What is compared: base, adapters, runs, run@step, folders of fused models."""
    data: Annotated[str | None, Opt("Data", completes="data")] = None
    """Rows to answer (those of the first adapter's run if not given)."""
    subset: Annotated[Literal["train", "valid", "test"], Opt("Data")] = "test"
    """Split that the rows are taken from."""
    rows: Annotated[Count, Opt("Data", metavar="N")] = 8
    """Rows to answer, the first ones of the split."""
    max_tokens: Annotated[Count, Opt("Sampling", ("-m",))] = 100
    """Longest answer in tokens."""
    name: RunName = None
    """Name of the run (made from the model if not given)."""
