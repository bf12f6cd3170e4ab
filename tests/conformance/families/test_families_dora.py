"""DoRA on quantised layers and experts: it works also in mlx-lm, or is refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load as load_in_mlx_lm
from mlx_lm.utils import load_model

from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.dora import check_dora
from lora_nb.core.load import load_words
from lora_nb.core.trainable import make_trainable
from lora_nb.errors import LoraError
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Ended
from tests.conformance.families.kit import (
    config_of,
    convert,
    distance,
    loaded,
    logits_of,
    model_folder,
    split_of,
    tokens_of,
)
from tests.unit.core.kit import Outside, trainer_of

QUERIES = ["self_attn.q_proj"]
EMBEDDING = ["model.embed_tokens", "self_attn.q_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dora")


def packed(base: Path, name: str = "llama", **options: Any) -> Path:
    folder = model_folder(base, name)
    target = base / "-".join([name, *map(str, options.values())])
    if not target.exists():
        convert(folder, target, quantize=True, **options)
    return target


def dora(folder: Path, keys: list[str] | None = None) -> Any:
    parameters = {"keys": keys} if keys else {}
    return config_of(folder, fine_tune_type="dora", num_layers=-1, lora_parameters=parameters)


def works(folder: Path, keys: list[str] | None = None) -> None:
    """DoRA learns here, and mlx-lm computes the same with the adapter."""
    config = dora(folder, keys)
    made = loaded(folder)
    check_dora(made, config)
    described = make_trainable(made.model, config)
    outside = Outside()
    trainer = trainer_of(made.model, config, split_of(config), outside)
    trainer.run()
    writer = CheckpointWriter(folder / "steps", folder / "adapters", described)
    writer.prepare()
    writer.save(4, made.model, {}, {}, {})
    made.model.eval()
    model = load_in_mlx_lm(str(folder), adapter_path=str(writer.publish_to))[0]
    tokens = tokens_of("llama")
    ours, plain = logits_of(made.model, tokens), logits_of(loaded(folder).model, tokens)
    assert distance(ours, plain) > 1e-2
    assert distance(logits_of(model, tokens), ours) < 2e-2 * distance(ours, plain) + 1e-3


def refused(folder: Path, why: str, keys: list[str] | None = None) -> str:
    made = loaded(folder)
    with pytest.raises(LoraError, match=why) as caught:
        check_dora(made, dora(folder, keys))
    # Whatever the reason is, there is a way out.
    assert "Use lora" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_whole_numbers_of_weights_in_32_bits_work(bits: int, base: Path) -> None:
    works(packed(base, q_bits=bits, q_group_size=32))


@pytest.mark.parametrize("mode", ["mxfp4", "nvfp4", "mxfp8"])
def test_block_formats_work(mode: str, base: Path) -> None:
    works(packed(base, q_mode=mode))


@pytest.mark.parametrize("bits", [3, 5, 6])
def test_other_bits_are_refused(bits: int, base: Path) -> None:
    folder = packed(base, q_bits=bits, q_group_size=32)
    text = refused(folder, f"proj: {bits}")
    assert "14 of the 14" in text
    assert "--keys" not in text
    model, _ = load_model(folder)
    parameters = {"rank": 4, "scale": 1.0, "dropout": 0.0, "keys": QUERIES}
    linear_to_lora_layers(model, 2, parameters, use_dora=True)
    with pytest.raises(ValueError, match="matmul"):
        model(mx.array([[5, 6]]))


@pytest.mark.parametrize("recipe", ["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"])
def test_recipes_are_refused_where_a_layer_has_other_bits(recipe: str, base: Path) -> None:
    folder = packed(base, quant_predicate=recipe, q_group_size=32)
    # With 3 and 6 bits no layer is left.
    assert ("--keys" in refused(folder, "others")) == (recipe != "mixed_3_6")


def test_the_other_layers_of_a_recipe_work(base: Path) -> None:
    folder = packed(base, quant_predicate="mixed_4_6", q_group_size=32)
    works(folder, QUERIES)
    refused(folder, "down_proj: 6", ["self_attn.q_proj", "mlp.down_proj"])


def test_a_quantised_embedding_is_refused_and_a_plain_one_works(base: Path) -> None:
    refused(packed(base, q_bits=4, q_group_size=32), "embedding", EMBEDDING)
    works(mended(base), EMBEDDING)


def mended(base: Path) -> Path:
    target = base / "llama-mended"
    convert(model_folder(base, "llama"), target)
    return target


@pytest.mark.parametrize("quantised", [False, True])
def test_experts_are_refused(quantised: bool, base: Path) -> None:
    folder = model_folder(base, "mixtral")
    if quantised:
        folder = packed(base, "mixtral", q_bits=4, q_group_size=32)
    assert "--keys self_attn" in refused(folder, "experts")
    check_dora(loaded(folder), dora(folder, QUERIES))


def test_a_run_ends_before_it_trains(base: Path) -> None:
    folder = packed(base, q_bits=3, q_group_size=32)
    options = {"fine_tune_type": "dora", "adapter_path": str(base / "never")}
    run = launch.start(config_of(folder, **options))
    assert attach.wait(run, 60)
    ended = run.records()[-1].event
    assert isinstance(ended, Ended)
    assert ended.status == "failed"
    assert "2, 4 or 8 bits" in ended.message
    assert run.checkpoints == []


def test_lora_is_never_refused(base: Path) -> None:
    for folder in (packed(base, q_bits=3, q_group_size=32), model_folder(base, "mixtral")):
        check_dora(loaded(folder), config_of(folder))
        assert load_words(folder, config_of(folder)).eos_token_ids == {2}


def test_only_trained_layers_count(base: Path) -> None:
    """One layer of odd bits in a block that is not trained is no hindrance."""
    folder = packed(base, q_bits=4, q_group_size=32)
    made = loaded(folder)
    made.packed["model.layers.0.mlp.up_proj"] = 3
    check_dora(made, config_of(folder, fine_tune_type="dora", num_layers=1))
    with pytest.raises(LoraError, match=r"1 of the 14 .*layers\.0\.mlp\.up_proj: 3"):
        check_dora(made, config_of(folder, fine_tune_type="dora", num_layers=2))
