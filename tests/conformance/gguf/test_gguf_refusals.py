"""What is refused, in what words, and that nothing is written then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from lora_nb.errors import LoraError
from lora_nb.export.gguf import check_gguf, write_gguf
from lora_nb.export.gguf.export import check_wanted, place_in
from lora_nb.export.gguf.pretokenizer import pretokenizer_of
from tests.conformance.gguf.kit import make


@pytest.fixture(scope="module")
def plain(models: Path) -> Path:
    """A llama that can be exported."""
    return make(models, "refused", "llama", "gpt2")


def config_with(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tokenizer_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "tokenizer.json"
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))

    return apply


def weights_with(change: Callable[[dict[str, mx.array]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        weights: Any = mx.load(str(path))
        mx.eval(weights)
        change(weights)
        path.unlink()
        mx.save_safetensors(str(path), weights)

    return apply


def unigram(told: dict[str, Any], more: dict[str, Any]) -> None:
    """Put a tokenizer that llama.cpp has, but for what is said of it, into a tokenizer.json."""
    pieces = [["<unk>", 0.0], *([f"t{n}", -float(n)] for n in range(300))]
    model = {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False}
    cut = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": True}
    for key, value in more.items():
        place = model if key in model else cut if key in cut else told
        place[key] = value
    told.update(model=model, pre_tokenizer=cut)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "family": (config_with(model_type="gpt_neox"), "family 'gpt_neox', which is not exported"),
    "quantised": (config_with(quantization={"bits": 4, "group_size": 64}), "--dequantize"),
    "dynamic rope": (
        config_with(rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
        "dynamic",
    ),
    "yarn of other speeds": (
        config_with(
            rope_scaling={
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 16,
            }
        ),
        "yarn rope scaling with beta_fast = 32, not 16",
    ),
    "a factor in words": (
        config_with(rope_scaling={"type": "linear", "factor": "x"}),
        "factor of the rope scaling is no number",
    ),
    "small letters": (
        tokenizer_with(lambda told: told.update(normalizer={"type": "Lowercase"})),
        "it changes each text first (Lowercase)",
    ),
    "other forms of characters": (
        tokenizer_with(
            lambda told: told.update(
                normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}]}
            )
        ),
        "it changes each text first (NFKC)",
    ),
    "ends of words": (
        tokenizer_with(lambda told: told["model"].update(end_of_word_suffix="</w>")),
        "it marks the parts of words (end_of_word_suffix)",
    ),
    "words before pieces": (
        tokenizer_with(
            lambda told: told.update(pre_tokenizer={"type": "Whitespace"}, decoder=None)
        ),
        "it cuts texts before it merges (Whitespace)",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "torn weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + bytes(30)),
        "can't be read",
    ),
    "packed weights": (
        weights_with(lambda w: w.update({"model.norm.scales": mx.ones((64,))})),
        "quantised",
    ),
    "a foreign tensor": (
        weights_with(lambda w: w.update({"model.layers.0.extra.weight": mx.ones((2, 2))})),
        "no place for model.layers.0.extra.weight",
    ),
    "a missing tensor": (
        weights_with(lambda w: w.pop("model.layers.1.mlp.up_proj.weight")),
        "lacks blk.1.ffn_up.weight",
    ),
    "a missing head": (weights_with(lambda w: w.pop("lm_head.weight")), "lacks output.weight"),
    "too few rows": (config_with(vocab_size=500), "rows for 500 only"),
    "more rows said": (config_with(vocab_size=600), "600 tokens, but the model has 512"),
    "a space before": (
        tokenizer_with(
            lambda told: told.update(
                pre_tokenizer={
                    "type": "ByteLevel",
                    "add_prefix_space": True,
                    "trim_offsets": True,
                    "use_regex": True,
                }
            )
        ),
        "add_prefix_space",
    ),
    "another tokenizer": (
        tokenizer_with(
            lambda told: told.update(
                model={
                    "type": "Unigram",
                    "unk_id": 0,
                    "vocab": [[f"t{n}", -float(n)] for n in range(300)],
                    "byte_fallback": False,
                }
            )
        ),
        "it does not cut at spaces as SentencePiece does",
    ),
    "a kind without a place": (
        tokenizer_with(
            lambda told: told.update(
                model={
                    "type": "WordPiece",
                    "unk_token": "[UNK]",
                    "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100,
                    "vocab": {"[UNK]": 0, "a": 1},
                }
            )
        ),
        "a tokenizer of the kind WordPiece is not exported",
    ),
    **{
        f"unigram with {name}": (tokenizer_with(partial(unigram, more=more)), words)
        for name, more, words in (
            ("bytes", {"byte_fallback": True}, "it spells unknown characters in bytes"),
            ("a normaliser", {"normalizer": {"type": "NFKC"}}, "it normalises each text first"),
            (
                "some spaces",
                {"prepend_scheme": "first"},
                "a space before some parts of a text only",
            ),
        )
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_refused_before_anything_is_written(what: str, plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(plain, folder)
    spoil, words = WRONG[what]
    spoil(folder)
    out = tmp_path / "new" / "model.gguf"
    with pytest.raises(LoraError) as refused:
        write_gguf(folder, out)
    assert words in str(refused.value)
    assert not out.parent.exists()


def test_missing_folder_type_and_places(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="is no folder"):
        write_gguf(tmp_path / "none", tmp_path / "model.gguf")
    with pytest.raises(LoraError, match="one of f16, f32, bf16, q8_0, not 'q4'"):
        write_gguf(plain, tmp_path / "model.gguf", kind="q4")
    with pytest.raises(LoraError, match=r"end in \.gguf"):
        write_gguf(plain, tmp_path / "model.bin")
    other = tmp_path / "other.gguf"
    other.write_text("a diary")
    with pytest.raises(LoraError, match="is no GGUF file"):
        write_gguf(plain, other)
    assert other.read_text() == "a diary"
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


@pytest.mark.parametrize("name", ["../x.gguf", "a/../../x.gguf", "/tmp/x.gguf", "~/x.gguf"])
def test_places_outside_of_the_model_are_refused(name: str, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="lies outside of save_path"):
        check_wanted(plain, tmp_path, name, dequantize=False)


def test_a_place_inside(tmp_path: Path) -> None:
    assert place_in(tmp_path, "gguf/a.gguf") == tmp_path / "gguf" / "a.gguf"


def test_numbers_too_large_for_f16(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(plain, folder)
    weights_with(lambda w: w.update({"lm_head.weight": w["lm_head.weight"] * 1e6}))(folder)
    with pytest.raises(LoraError, match="too large for f16"):
        write_gguf(folder, tmp_path / "model.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    write_gguf(folder, tmp_path / "model.gguf", kind="bf16")


def test_giving_up_leaves_the_old_file(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    write_gguf(plain, out, kind="f32")
    before = out.read_bytes()

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gguf(plain, out, kind="f16", tick=stop)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_a_torn_file_is_found(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    write_gguf(plain, out)
    out.write_bytes(out.read_bytes()[:20_000])
    with pytest.raises(LoraError, match="can't be read"):
        check_gguf(out, plain)


def test_a_file_of_another_model_is_found(plain: Path, models: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    other = make(models, "refused-other", "llama", "gpt2")
    out = tmp_path / "model.gguf"
    write_gguf(other, out)
    with pytest.raises(LoraError, match="computes something else"):
        check_gguf(out, plain)


def test_composing_characters_is_said(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(plain, folder)
    assert write_gguf(folder, tmp_path / "out.gguf").notes == []
    tokenizer_with(lambda told: told.update(normalizer={"type": "NFC"}))(folder)
    (note,) = write_gguf(folder, tmp_path / "out.gguf").notes
    assert "composes characters first (NFC), which llama.cpp does not" in note


def test_an_unknown_way_to_cut_is_said() -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\p{N}{1,2}|\s+"}}
    steps = {
        "type": "Sequence",
        "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False}],
    }
    name, note = pretokenizer_of({"model": {}, "pre_tokenizer": steps})
    assert name in ("dbrx", "qwen2", "gpt-4o")
    assert f"'{name}'" in note
