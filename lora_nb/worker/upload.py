"""An upload, from its config to a repository that holds what is here."""

from __future__ import annotations

from lora_nb.config import UploadConfig
from lora_nb.errors import LoraError
from lora_nb.runs.events import Ended
from lora_nb.runs.shippable import find_shippable
from lora_nb.worker.session import Session
from lora_nb.worker.shipping import ship

__all__ = ["upload"]


def upload(session: Session) -> Ended:
    """Upload what the run's config names."""
    config = session.run.config
    if not isinstance(config, UploadConfig):
        raise LoraError("This run's config.yaml is no upload config.")
    return ship(session, config, find_shippable(config.path), base=config.hf_path)
