"""Model cards: what a model was made of, and nothing of where that was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lora_nb.errors import LoraError
from lora_nb.export.card import (
    adapter_card,
    bare_card,
    base_in,
    check_section,
    model_card,
    with_base,
)
from lora_nb.export.card_text import public_name
from lora_nb.runs.events import Resumed, ValidLoss
from lora_nb.runs.events import TestLoss as LossOfTest
from tests.unit.export.test_export_fidelity import some_fidelity
from tests.unit.runs.kit import loss, made


def front(card: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_names_of_the_hub_and_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert public_name("Qwen/Qwen3-0.6b") == "Qwen/Qwen3-0.6b"
    assert public_name(str(tmp_path / "secret" / "model-7b")) == "model-7b"
    assert public_name("./mine") == "mine"
    assert public_name("mine") == "mine"


def test_a_card_tells_of_the_training(tmp_path: Path, runs_root: Path) -> None:
    valid = [
        ValidLoss(step=step, loss=value, perplexity=3.0, tokens=9, seconds=1.0, best=True)
        for step, value in ((2, 0.75), (4, 0.5), (6, 0.625))
    ]
    test = LossOfTest(loss=0.25, perplexity=1.284, rows=4, tokens=9, seconds=1.0)
    run = made(
        runs_root,
        loss(6, 0.125),
        *valid,
        test,
        data=str(tmp_path / "private" / "rows"),
        lora_parameters={"rank": 4, "alpha": 8, "keys": ["self_attn.q_proj"]},
        name="x",
    )
    card = model_card("owner/base", {"fine_tune_type": "lora"}, run, 4.5)
    assert front(card)["base_model"] == "owner/base"
    assert "datasets" not in front(card)
    for text in (
        "A LoRA adapter on `owner/base`, fused into its weights (4.50 bits per weight)",
        "| rank | 4 |",
        "| scale | 2.0 |",
        r"| layers | self\_attn.q\_proj |",
        "| data | rows |",
        "| steps | 6 |",
        "| best validation loss | 0.5000 (step 4) |",
        "| test loss | 0.2500 (perplexity 1.2840) |",
    ):
        assert text in card
    assert str(tmp_path) not in card
    assert "private" not in card


def test_a_card_names_the_data_that_was_read(runs_root: Path) -> None:
    sets = [{"path": "one/set"}, {"name": "other/set"}, {"path": "./own/rows"}]
    run = made(runs_root, loss(2, 0.5), hf_dataset=sets, name="x")
    card = model_card("owner/base", {}, run, 16)
    assert front(card)["datasets"] == ["one/set", "other/set"]
    assert r"| data | one/set, other/set, rows |" in card
    assert "WikiSQL" not in card


def test_a_card_of_a_checkpoint_ends_with_it(runs_root: Path) -> None:
    valid = [
        ValidLoss(step=step, loss=value, perplexity=3.0, tokens=9, seconds=1.0, best=True)
        for step, value in ((2, 0.75), (4, 0.5))
    ]
    test = LossOfTest(loss=0.25, perplexity=1.284, rows=4, tokens=9, seconds=1.0)
    run = made(runs_root, loss(2, 0.875), valid[0], loss(4, 0.625), valid[1], test, name="x")
    early = model_card("owner/base", {}, run, 16, step=2)
    assert "| steps | 2 |" in early
    assert "| best validation loss | 0.7500 (step 2) |" in early
    assert "test loss" not in early
    assert "| test loss | 0.2500" in model_card("owner/base", {}, run, 16, step=4)


def test_what_a_resume_has_voided_stands_in_no_card(runs_root: Path) -> None:
    void = ValidLoss(step=4, loss=0.125, perplexity=1.1, tokens=9, seconds=1.0, best=True)
    again = Resumed(step=2, reported=2)
    run = made(runs_root, loss(2, 0.5), loss(4, 0.25), void, again, name="x")
    card = model_card("owner/base", {}, run, 16)
    assert "| steps | 2 |" in card
    assert "validation loss" not in card


def test_a_card_without_a_run(tmp_path: Path) -> None:
    card = model_card(str(tmp_path / "a`b|c"), {"use_dora": True, "peft_type": "LORA"}, None, 16)
    assert "A DoRA adapter on `ab|c`" in card
    assert r"# a\`b\|c, fine-tuned" in card
    assert "base_model" not in front(card)
    assert "Training" not in card
    assert str(tmp_path) not in card


def test_the_check_stands_in_the_card() -> None:
    text = check_section(some_fidelity())
    assert "On 2 valid rows, 5 tokens:" in text
    assert "| fused | 1.5000 | 75.0% |" in text


def test_a_base_of_another_name(tmp_path: Path) -> None:
    """What it was fused with may be a folder; the Hub knows where that came from."""
    folder = str(tmp_path / "packed")
    card = model_card(folder, {"fine_tune_type": "lora"}, None, 4.5, "owner/base")
    assert front(card)["base_model"] == "owner/base"
    assert front(card)["base_model_relation"] == "finetune"
    assert "A LoRA adapter on `owner/base`" in card
    assert "packed" not in card


def test_the_card_of_an_adapter(tmp_path: Path) -> None:
    card = adapter_card("owner/base", {"fine_tune_type": "dora"}, None)
    assert front(card)["base_model"] == "owner/base"
    assert front(card)["base_model_relation"] == "adapter"
    assert "A DoRA adapter for `owner/base`" in card
    assert "mlx_lm.generate --model owner/base --adapter-path adapters" in card
    peft = adapter_card(None, {"peft_type": "LORA"}, None, hf_path="x/y", peft=True)
    assert front(peft)["library_name"] == "peft"
    assert front(peft)["base_model"] == "x/y"
    assert "mlx_lm" not in peft
    local = adapter_card(str(tmp_path / "base"), {}, None)
    assert "base_model" not in front(local)
    assert str(tmp_path) not in local


def test_the_card_of_a_model_of_which_little_is_known() -> None:
    card = bare_card("mine", "owner/base", 4.5)
    assert front(card)["base_model_relation"] == "quantized"
    assert "4.50 bits per weight, made with lora_nb on MLX from `owner/base`." in card
    assert "base_model" not in front(bare_card("mine", None))


def test_a_base_is_put_into_a_card() -> None:
    text = "---\nlicense: mit\ntags:\n- ä\n---\n# Mine\n\n---\n\nend"
    card = with_base(text, "owner/base")
    assert front(card) == {"license": "mit", "tags": ["ä"], "base_model": "owner/base"}
    assert card.endswith("---\n# Mine\n\n---\n\nend")
    assert base_in(card) == "owner/base"
    assert base_in(with_base("# Mine\n", "owner/base")) == "owner/base"
    assert base_in("---\nbase_model: [a/b, c/d]\n---\n") == "a/b"
    assert base_in("# Mine\n") is None
    with pytest.raises(
        LoraError, match=r"^README\.md, line 3: what the Hub reads is no valid YAML"
    ):
        base_in("---\na: 1\nb: c: d\n---\n")
