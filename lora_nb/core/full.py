"""What can't be fine-tuned in full, said before training."""

from __future__ import annotations

from lora_nb.config import TrainConfig
from lora_nb.core.load import Loaded
from lora_nb.core.trainable import layers_of
from lora_nb.errors import LoraError

__all__ = ["check_full"]


def check_full(loaded: Loaded, config: TrainConfig) -> None:
    """Raise LoraError if the blocks to train are quantised: whole numbers have no gradient.

    That they are held as fp32 here changes nothing: what is learnt would not fit the model.
    """
    if config.fine_tune_type != "full":
        return
    names = {id(module): name for name, module in loaded.model.named_modules()}
    blocks = loaded.model.layers[-layers_of(config, loaded.model) :]
    inside = (names[id(module)] for block in blocks for module in block.modules())
    packed = sorted(loaded.packed.keys() & set(inside))
    if packed:
        raise LoraError(
            f"fine_tune_type: full can't train quantised layers (e.g. {packed[0]}). Use lora or "
            "dora, which train beside them (QLoRA), or turn the model back first: "
            f"%lora_convert --model {config.model} --dequantize"
        )
