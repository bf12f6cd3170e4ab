"""The options of what makes and uploads models, declared once, as those of training are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lora_nb.config.declaring import STRICT, Name, Opt, RunName, Size, Words, spelled
from lora_nb.config.options import ModelOptions

__all__ = ["ConvertConfig", "FuseConfig", "HubOptions", "UploadConfig"]

QuantMode = Literal["affine", "mxfp4", "nvfp4", "mxfp8"]
Recipe = Literal["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HubOptions:
    """Where on the Hugging Face Hub something is uploaded to."""

    upload_repo: Annotated[Name | None, Opt("Hub", metavar="OWNER/NAME")] = None
    """Upload to this repository of the Hugging Face Hub; without an owner it is yours."""
    public: Annotated[bool, Opt("Hub")] = False
    """Let everybody see the repository; it is private without this."""
    update_repo: Annotated[bool, Opt("Hub")] = False
    """Upload to a repository with other files, too; model files that it had before are removed."""
    dry_run: Annotated[bool, Opt("Hub")] = False
    """Check and list the files that would be uploaded, and send nothing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConvertConfig(HubOptions):
    """Quantise a model, dequantise it, or change the type of its weights."""

    model: Annotated[str, Field(min_length=1), Opt("Model", ("--hf-path",), completes="model")]
    """Model to convert: a folder, or a Hugging Face repository."""
    trust_remote_code: Annotated[bool, Opt("Model")] = False
    """Allow code that comes with the model to run, if --trust-sha256 agrees to it."""
    trust_sha256: Annotated[Words | None, Opt("Model", metavar="FILE:SHA256,...")] = None
    """The files of code you have read and agree to run, each with the sha256 of its content."""
    mlx_path: Annotated[str, Field(min_length=1), Opt("Output", completes="path")] = "mlx_model"
    """Folder that receives the converted model."""
    overwrite: Annotated[bool, Opt("Output")] = False
    """Replace a model that is already there."""
    dtype: Annotated[Literal["float16", "bfloat16", "float32"] | None, Opt("Output")] = None
    """Type of the weights that are not quantised (what the model's config says, if not given)."""
    quantize: Annotated[bool, Opt("Quantisation", ("-q",))] = False
    """Quantise the model."""
    q_bits: Annotated[
        Literal[2, 3, 4, 5, 6, 8] | None, BeforeValidator(spelled), Opt("Quantisation")
    ] = None
    """Bits of a quantised weight (4, or what the mode needs, if not given)."""
    q_group_size: Annotated[
        Literal[16, 32, 64, 128] | None, BeforeValidator(spelled), Opt("Quantisation")
    ] = None
    """Weights that share a scale (64, or what the mode needs, if not given)."""
    q_mode: Annotated[QuantMode, Opt("Quantisation")] = "affine"
    """How numbers are quantised: affine, or a block format of 4 or 8 bits."""
    quant_predicate: Annotated[Recipe | None, Opt("Quantisation")] = None
    """A recipe that gives sensitive layers more bits, e.g. 3 and 6."""
    dequantize: Annotated[bool, Opt("Quantisation", ("-d",))] = False
    """Turn the weights of a quantised model back into plain ones."""
    name: RunName = None
    """Name of the run (made from the model if not given)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FuseConfig(HubOptions, ModelOptions):
    """Put an adapter into its base model, and check that the result answers as the two did."""

    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Base model: a folder or a Hugging Face repository (the adapter's own if not given)."""
    adapter_path: Annotated[
        str, Field(min_length=1), Opt("Model", ("--adapter",), completes="adapter")
    ] = "adapters"
    """Adapter to fuse: its folder, a run, or a folder of PEFT."""
    save_path: Annotated[str, Field(min_length=1), Opt("Output", completes="path")] = (
        "lora_fused_model"
    )
    """Folder that receives the fused model."""
    overwrite: Annotated[bool, Opt("Output")] = False
    """Replace a model that is already there."""
    dequantize: Annotated[bool, Opt("Output", ("--de-quantize", "-d"))] = False
    """Write plain weights even if the base model is quantised."""
    export_peft: Annotated[str | None, Opt("Output", metavar="FOLDER", completes="path")] = None
    """Also write the adapter as PEFT loads it, to this folder."""
    export_gguf: Annotated[bool, Opt("Output")] = False
    """Also write the fused model as a GGUF file, for llama.cpp and Ollama, and check it."""
    gguf_path: Annotated[str | None, Field(min_length=1), Opt("Output", completes="path")] = None
    """Name of that file inside --save-path (ggml-model-TYPE.gguf if not given)."""
    gguf_type: Annotated[Literal["f16", "f32", "bf16", "q8_0"] | None, Opt("Output")] = None
    """Type of that file's weights (f16 if not given)."""
    hf_path: Annotated[Name | None, Opt("Output", metavar="OWNER/NAME")] = None
    """The base model's name on the Hub, for the model card (--model's own if it is one)."""
    data: Annotated[str | None, Opt("Check", completes="data")] = None
    """Rows to check the result on (those of the adapter's run if not given)."""
    check_rows: Annotated[Size, Opt("Check", metavar="N")] = 16
    """Rows to check the result on; 0 for no check."""
    name: RunName = None
    """Name of the run (made from the model if not given)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UploadConfig(HubOptions):
    """Upload a model, or an adapter alone, to the Hugging Face Hub."""

    path: Annotated[str, Field(min_length=1), Opt("Upload", completes="adapter")]
    """What is uploaded: a model's or adapter's folder, or the run that made one."""
    hf_path: Annotated[Name | None, Opt("Upload", metavar="OWNER/NAME")] = None
    """The base model's name on the Hub, for the card (what the files say, if not given)."""
    name: RunName = None
    """Name of the run (made from the repository's if not given)."""
