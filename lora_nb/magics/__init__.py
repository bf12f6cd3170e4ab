"""The commands as IPython magics, with help (`%lora_train?`) and completion (TAB)."""

from __future__ import annotations

from lora_nb.magics.register import register, unregister

__all__ = ["register", "unregister"]
