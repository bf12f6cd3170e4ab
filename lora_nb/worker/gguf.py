"""The GGUF file of a fused model."""

from __future__ import annotations

from pathlib import Path

from lora_nb.config import FuseConfig
from lora_nb.runs.export_events import GgufSaved
from lora_nb.worker.convert import Teller
from lora_nb.worker.session import Session

__all__ = ["wanted_gguf", "write_gguf_file"]

_TYPE = "f16"


def wanted_gguf(config: FuseConfig, base: Path, target: Path) -> Path | None:
    """Where the file goes, if one is wanted. Raises LoraError if it could not be written later."""
    if not config.export_gguf:
        return None
    # The package that it is built on comes with an extra.
    from lora_nb.export.gguf import check_wanted

    name = config.gguf_path or f"ggml-model-{config.gguf_type or _TYPE}.gguf"
    return check_wanted(base, target, name, dequantize=config.dequantize)


def write_gguf_file(session: Session, folder: Path, out: Path, config: FuseConfig) -> None:
    """Write and check the file, and tell of it."""
    from lora_nb.export.gguf import export_file

    teller = Teller(session, "writing GGUF")
    report = export_file(folder, out, config.gguf_type or _TYPE, tick=teller)
    for note in report.notes:
        session.warn(note)
    session.emit(
        GgufSaved(
            path=str(Path(config.save_path) / out.relative_to(folder)),
            kind=report.kind,
            size=report.size,
            checks="\n".join(report.checks),
            commands="\n".join(report.commands),
        )
    )
