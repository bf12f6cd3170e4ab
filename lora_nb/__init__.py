"""Fine-tune language models with LoRA and QLoRA on Apple's MLX, inside a notebook.

`%load_ext lora_nb` brings the magics; `lora_nb.train(...)` and its siblings are the same verbs as
functions. Importing this package is cheap and changes nothing in the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lora_nb.api import (
        Run,
        Sweep,
        attach,
        compare,
        convert,
        data_report,
        delete,
        diff,
        doctor,
        export_gguf,
        fit,
        fuse,
        generate,
        list_runs,
        plot,
        release,
        stop,
        studio,
        sweep,
        test,
        train,
        upload,
    )

__version__ = "0.1.0"

__all__ = [
    "LoraError",
    "Run",
    "Sweep",
    "__version__",
    "attach",
    "compare",
    "convert",
    "data_report",
    "delete",
    "diff",
    "doctor",
    "export_gguf",
    "fit",
    "fuse",
    "generate",
    "list_runs",
    "plot",
    "release",
    "stop",
    "studio",
    "sweep",
    "test",
    "train",
    "upload",
]


def __getattr__(name: str) -> Any:
    # Named by __all__, but not imported yet: the API pulls in pydantic and pandas, so it waits
    # until somebody asks for it.
    if name not in __all__:
        raise AttributeError(f"module 'lora_nb' has no attribute '{name}'")
    from lora_nb import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics and their completion (`%load_ext lora_nb`)."""
    from lora_nb.magics import register

    register(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again (`%unload_ext lora_nb`)."""
    from lora_nb.magics import unregister

    unregister(shell)
