"""What a worker tells of models that it writes, checks and uploads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fidelity", "GgufSaved", "ModelSaved", "UploadListed", "Uploaded"]


@dataclass(frozen=True, kw_only=True)
class ModelSaved:
    """A model is complete on disk, with how many bits a weight and in how many bytes."""

    path: str
    bits: float
    size: int
    dtype: str


@dataclass(frozen=True, kw_only=True)
class GgufSaved:
    """A GGUF file is complete: its size in bytes, and in lines how it was checked and is used."""

    path: str
    kind: str
    size: int
    checks: str
    commands: str


@dataclass(frozen=True, kw_only=True)
class UploadListed:
    """What is about to be uploaded, told before anything is: files with their sizes in bytes.

    `left_out` are files of the folder that are none of a model. A dry run ends here.
    """

    repo: str
    private: bool
    files: dict[str, int]
    left_out: list[str]
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """Everything is on the Hub and was compared with the files here; `size` is in bytes."""

    repo: str
    url: str
    private: bool
    commit: str
    files: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How a fused model compares with its base and adapter on rows from `source`.

    Losses are in nats per trained token. Agreement is the share of trained tokens where the
    likeliest token is that of base and adapter; differences are of logits, from theirs too. Those
    of the base alone tell how much the adapter changes. `advice` is empty if nothing is lost.
    """

    source: str
    rows: int
    tokens: int
    base_loss: float
    adapter_loss: float
    fused_loss: float
    base_agreement: float
    fused_agreement: float
    base_max_difference: float
    fused_max_difference: float
    base_mean_difference: float
    fused_mean_difference: float
    advice: str
    seconds: float
