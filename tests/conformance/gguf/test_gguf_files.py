"""What stands in a file, and the ways to get one: the function, and fusing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import lora_nb
from lora_nb.export.gguf import check_gguf, export_file, write_gguf
from lora_nb.export.gguf.__main__ import main
from lora_nb.export.gguf.ollama import write_modelfile
from lora_nb.runs.gguf import MARK
from tests.conformance.gguf.cases import CASES
from tests.conformance.gguf.kit import make

Type = gguf.TokenType


@pytest.fixture(scope="module")
def padded(models: Path) -> Path:
    """A llama with rows for more tokens than there are, and a tokenizer of SentencePiece."""
    return make(models, "file-padded", "llama", "spm-before", vocab_size=576)


@pytest.fixture(scope="module")
def bytes_model(models: Path) -> Path:
    """A llama with a byte-level tokenizer."""
    return make(models, "file-bytes", "llama", "llama3")


def fields_of(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def test_sentence_pieces_have_scores_and_types(padded: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    write_gguf(padded, out)
    found = fields_of(out)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert found["tokenizer.ggml.model"] == "llama"
    assert types[tokens.index("<unk>")] == Type.UNKNOWN
    assert types[tokens.index("<s>")] == types[tokens.index("</s>")] == Type.CONTROL
    assert types[tokens.index("<0x41>")] == Type.BYTE
    assert len(tokens) == 576
    assert tokens[-1] == "[PAD575]"
    assert types[-1] == Type.UNUSED
    assert len(set(found["tokenizer.ggml.scores"])) > 100
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"].startswith("{% for m")


def test_byte_level_has_merges_and_types(bytes_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    write_gguf(bytes_model, out, kind="q8_0")
    found = fields_of(out)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert found["tokenizer.ggml.model"] == "gpt2"
    assert found["tokenizer.ggml.pre"] == "llama-bpe"
    assert found["tokenizer.ggml.merges"]
    assert types[tokens.index("<|im_start|>")] == Type.CONTROL
    assert types[tokens.index("<tool>")] == Type.USER_DEFINED
    assert found["tokenizer.ggml.add_bos_token"] is True
    assert found["tokenizer.ggml.bos_token_id"] == 1
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_types_of_tensors(kind: str, models: Path, tmp_path: Path) -> None:
    name = f"types-{kind}"
    case = CASES["mixtral"]
    folder = make(models, name, case.family, "gpt2", **case.changes)
    out = tmp_path / "a.gguf"
    write_gguf(folder, out, kind=kind)
    tensors = {t.name: t for t in gguf.GGUFReader(out).tensors}
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    assert tensors["blk.0.ffn_gate_exps.weight"].tensor_type == wanted
    assert list(tensors["blk.0.ffn_gate_exps.weight"].shape) == [64, 96, 4]
    for plain in ("blk.0.attn_norm.weight", "output_norm.weight", "blk.1.ffn_gate_inp.weight"):
        assert tensors[plain].tensor_type == gguf.GGMLQuantizationType.F32
    assert check_gguf(out, folder, kind=kind).checks


def test_ends_of_answers(bytes_model: Path, tmp_path: Path, models: Path) -> None:
    folder = make(models, "file-ends", "llama", "llama3")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 508]}))
    out = tmp_path / "a.gguf"
    write_gguf(folder, out)
    found = fields_of(out)
    assert found["tokenizer.ggml.eos_token_id"] == 2
    assert found["tokenizer.ggml.eot_token_id"] == 508


def test_norms_of_gemma(models: Path, tmp_path: Path) -> None:
    import mlx.core as mx

    case = CASES["gemma"]
    folder = make(models, "file-gemma", case.family, case.words, **case.changes)
    out = tmp_path / "a.gguf"
    write_gguf(folder, out)
    weights: Any = mx.load(str(folder / "model.safetensors"))
    tensors = {t.name: t.data for t in gguf.GGUFReader(out).tensors}
    assert np.allclose(tensors["output_norm.weight"], np.array(weights["model.norm.weight"]) + 1)
    assert "output.weight" not in tensors


def test_modelfile(tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    made = write_modelfile(out, ["<|end|>"])
    assert made is not None
    assert made.read_text().splitlines()[1:] == ["FROM ./a.gguf", 'PARAMETER stop "<|end|>"']
    assert write_modelfile(out, []) == made
    made.write_text("FROM mine\n")
    assert write_modelfile(out, []) is None
    assert made.read_text() == "FROM mine\n"


def test_export_says_how_it_was_checked(bytes_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    report = export_file(bytes_model, tmp_path / "a.gguf")
    assert report.checks[0].startswith("the gguf reader: ")
    assert "llama.cpp: loads it, same tokens on 4 lines" in report.checks[1]
    assert report.commands[0] == f"llama-cli -m {tmp_path}/a.gguf"
    assert "ollama create" in report.commands[1]


def test_the_function(bytes_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "there" / "model.gguf"
    report = lora_nb.export_gguf(bytes_model, out, kind="bf16")
    assert out.is_file()
    assert report.kind == "bf16"
    assert "llama" in str(report)


def test_the_process_of_the_function_tells_of_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt_neox"}')
    monkeypatch.setattr("sys.argv", ["gguf", str(tmp_path), str(tmp_path / "b.gguf"), "f16"])
    main()
    told = capsys.readouterr().out
    assert told.startswith(MARK)
    assert "gpt_neox" in json.loads(told.removeprefix(MARK))["problem"]


def test_fusing_writes_a_file_too(models: Path, tmp_path: Path) -> None:
    from lora_nb.runs.export_events import GgufSaved
    from tests.conformance.export.kit import random_adapter

    folder = make(models, "file-fused", "llama", "llama3")
    adapter = random_adapter(tmp_path / "adapter", folder)
    run = lora_nb.fuse(
        model=str(folder),
        adapter_path=str(adapter),
        save_path=str(tmp_path / "fused"),
        export_gguf=True,
        gguf_type="f32",
        check_rows=0,
    )
    assert run.status == "completed"
    saved = [r.event for r in run.records if isinstance(r.event, GgufSaved)]
    assert len(saved) == 1
    out = tmp_path / "fused" / "ggml-model-f32.gguf"
    assert saved[0].size == out.stat().st_size
    assert (tmp_path / "fused" / "Modelfile").is_file()
    assert saved[0].commands.startswith("llama-cli -m ")
    assert "ggml-model-f32.gguf" in run.summary()
