"""What mlx-lm's DoRA can't be put on, said before training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import mlx.nn as nn
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

from lora_nb.config import TrainConfig
from lora_nb.core.load import Loaded
from lora_nb.core.trainable import layers_of
from lora_nb.errors import LoraError

__all__ = ["check_dora"]

_EXPERTS = (SwitchLinear, QuantizedSwitchLinear)
_EMBEDDINGS = (nn.Embedding, nn.QuantizedEmbedding)
_ADAPTED = (nn.Linear, nn.QuantizedLinear, *_EXPERTS, *_EMBEDDINGS)
# mlx-lm's DoRALinear reckons with a whole number of weights in 32 bits.
_WHOLE = (2, 4, 8)


def check_dora(loaded: Loaded, config: TrainConfig) -> None:
    """Raise LoraError if DoRA would fail on a layer, here or where mlx-lm loads the adapter.

    That the base is held in fp32 here changes nothing: elsewhere it is quantised.
    """
    if config.fine_tune_type != "dora":
        return
    targets = dict(_targets(loaded.model, config))
    found = (
        _experts(targets),
        _odd_bits({name: loaded.packed[name] for name in targets if name in loaded.packed}),
        _embeddings(
            name
            for name, module in targets.items()
            if name in loaded.packed and isinstance(module, _EMBEDDINGS)
        ),
    )
    for problem in filter(None, found):
        raise LoraError(f"fine_tune_type: {problem}")


def _targets(model: nn.Module, config: TrainConfig) -> Iterator[tuple[str, nn.Module]]:
    """The layers that get an adapter, chosen as `mlx_lm.tuner.utils.linear_to_lora_layers` does."""
    names = {id(module): name for name, module in model.named_modules()}
    keys = config.lora_parameters.keys
    for block in model.layers[-layers_of(config, model) :]:
        for name, module in block.named_modules():
            if isinstance(module, _ADAPTED) and (keys is None or name in keys):
                yield names[id(module)], module
    for name, module in model.named_modules():
        if keys and name in keys and isinstance(module, _ADAPTED):
            yield name, module


def _experts(targets: dict[str, nn.Module]) -> str:
    names = [name for name, module in targets.items() if isinstance(module, _EXPERTS)]
    if not names:
        return ""
    return (
        f"mlx-lm has no DoRA for the experts of a mixture (e.g. {names[0]}). Use lora, or name "
        "other layers: --keys self_attn.q_proj,self_attn.k_proj,self_attn.v_proj,self_attn.o_proj"
    )


def _odd_bits(packed: dict[str, int]) -> str:
    odd = {name: bits for name, bits in packed.items() if bits not in _WHOLE}
    if not odd:
        return ""
    name, bits = next(iter(odd.items()))
    more = ", or name layers of other bits with --keys" if len(odd) < len(packed) else ""
    return (
        f"mlx-lm's DoRA works on layers of 2, 4 or 8 bits, but {len(odd)} of the {len(packed)} "
        f"quantised ones have others (e.g. {name}: {bits}). Use lora, or a model of 4 or 8 bits "
        f"(%lora_convert --quantize --q-bits 4){more}."
    )


def _embeddings(names: Iterable[str]) -> str:
    name = next(iter(names), "")
    if not name:
        return ""
    return (
        f"mlx-lm has no DoRA for a quantised embedding ({name}). Use lora, leave {name} out of "
        "--keys, or take a model that is not quantised."
    )
