"""Wrong options, models, adapters, paths and machines: one clear message, soon, and no traceback.

Each case has the words that its message must hold. Wrong rows have tests of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lora_nb.commands.table import COMMANDS, call
from lora_nb.config import TrainConfig, load
from lora_nb.core.adapters import put_on
from lora_nb.core.load import find_model, load_base, load_words
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.trainable import start_from
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, find_adapter
from lora_nb.runs.folder import RunFolder
from tests.faults.hostile import edited
from tests.tiny import ROOT, model_folder, options_for

Spoil = Callable[[Path], object]

# Lines of commands, and words of their messages.
LINES: list[tuple[str, str]] = [
    ("train --batch-size 0", "at least 1"),
    ("train --batch-size -1", "at least 1"),
    ("train --batch-size four", "not a whole number"),
    ("train --batch-size 1.5", "not a whole number"),
    ("train --batch-size 1000000000000000000000", "less than"),
    ("train --batch-size", "needs a value"),
    ("train --iters 0", "at least 1"),
    ("train --iters -5", "at least 1"),
    ("train --iters 10 --epochs 2", "Give one of the two"),
    ("train --epochs 0", "more than 0"),
    ("train --epochs nan", "more than 0"),
    ("train --epochs inf", "finite"),
    ("train --learning-rate nan", "more than 0"),
    ("train --learning-rate inf", "finite"),
    ("train --learning-rate -1", "more than 0"),
    ("train --learning-rate 0", "more than 0"),
    ("train --learning-rate fast", "not a number"),
    ("train --learning_rte 1", "Did you mean '--learning-rate'?"),
    ("train --save-every 0", "at least 1"),
    ("train --steps-per-report 0", "at least 1"),
    ("train --steps-per-eval 0", "at least 1"),
    ("train --val-batches -2", "at least -1"),
    ("train --test-batches -2", "at least -1"),
    ("train --max-seq-length 0", "at least 2"),
    ("train --max-seq-length 1", "at least 2"),
    ("train --num-layers 0", "at least 1, or -1 for all"),
    ("train --num-layers -5", "at least 1, or -1 for all"),
    ("train --lora-layers 0", "at least 1, or -1 for all"),
    ("train --rank 0", "at least 1"),
    ("train --rank -8", "at least 1"),
    ("train --dropout 1", "less than 1"),
    ("train --dropout -0.1", "at least 0"),
    ("train --scale 0", "more than 0"),
    ("train --scale nan", "more than 0"),
    ("train --scale 2 --alpha 8", "Give one of the two"),
    ("train --keys ,", "no layer would be adapted"),
    ("train --optimizer adan", "Did you mean 'adam'?"),
    ("train --seed -1", "at least 0"),
    ("train --seed 99999999999999999999", "less than"),
    ("train --fine-tune-type qlora", "Did you mean 'lora'?"),
    ("train --train-on question", "is not one of"),
    ("train --train-on all --mask-prompt", "contradicts mask_prompt"),
    ("train --mask-prompt=yes", "takes no value"),
    ("train --long-rows trim", "is not one of"),
    ("train --split 0.5/0.6", "no split"),
    ("train --split a/b", "no split"),
    ("train --split nan/nan", "no split"),
    ("train --name ../x", "not a plain name"),
    ("train --clear-cache-threshold 2bananas", "is no size"),
    ("train --trunk-cache-limit -1", "is no size"),
    ("train --max-grad-norm 0", "more than 0"),
    ("train --report-to mail", "is unknown"),
    ("train --early-stop 0", "at least 1"),
    ("train --early-stop 2 --val-batches 0", "needs validations"),
    ("train --publish best --val-batches 0", "needs validations"),
    ("train --keep-checkpoints 0", "at least 1"),
    ("train --grad-accumulation-steps 0", "at least 1"),
    ("train --no-train", "this verb trains"),
    ("train --prompt-feature x --completion-feature x", "is the prompt's key, too"),
    ("train --trust-sha256 abc", "is no FILE:SHA256"),
    ("train --model= --data demo", "is empty"),
    ("train --data= --model demo", "is empty"),
    ("train --adapter-path=", "is empty"),
    ("train --chat-template=", "is empty"),
    ("train --resume-adapter-file=", "is empty"),
    ("train --prompt-feature=", "is empty"),
    (f"train --model {'a' * 5000}", "is too long"),
    (f"train --data x/{'a' * 300}", "is too long"),
    ("train --model a\0b", "NUL"),
    ("train --data a\ud800b", "half of a character"),
    ("train demo", "is no flag"),
    ("train -c /no/such.yaml", "no such file"),
    ("train -c /", "can't be read"),
    ("train -c /dev/null/x", "can't be read"),
    ("test --iters 5", "not a flag here"),
    ("test --adapter-path /no/such --data demo --model demo", "does not exist"),
    ("test --test-batches x", "not a whole number"),
    ("generate", "The prompt is empty"),
    ("generate --max-tokens 0 hi", "at least 1"),
    ("generate --temp hot hi", "not a number"),
    ("generate --temp -1 hi", "at least 0"),
    ("generate --temp inf hi", "finite"),
    ("generate --top-p 2 hi", "at most 1"),
    ("generate --top-p nan hi", "out of range"),
    ("generate --min-p -1 hi", "at least 0"),
    ("generate --top-k -1 hi", "at least 0"),
    ("generate --kv-bits 5 hi", "is not one of"),
    ("generate --kv-bits 4 --max-kv-size 10 hi", "can't be quantised"),
    ("generate --kv-group-size 7 hi", "is not one of"),
    ("generate --xtc-threshold 0.9 hi", "at most 0.5"),
    ("generate --adapter-path /no/such hi", "does not exist"),
    ("generate --compare hi", "adapter_path"),
    ("convert", "is missing"),
    ("convert --model=", "is empty"),
    ("convert --model demo --q-bits 4", "nothing is quantised"),
    ("convert --model demo -q --q-bits 7", "is not one of"),
    ("convert --model demo -q -d", "Give one of the two"),
    ("convert --model demo -q --q-group-size 16", "is not 32, 64 or 128"),
    ("convert --model demo -q --q-mode mxfp4 --q-bits 8", "has 4 bits"),
    ("convert --model demo --dtype int8", "is not one of"),
    ("data /no/such", "does not exist"),
    ("data demo demo", "One data set at a time"),
    ("data --data demo demo", "named twice"),
    ("data demo --row x", "x"),
    ("data demo --row 999999999", "999"),
    ("attach no-such-run", "No runs in"),
    ("stop no-such-run", "No runs in"),
    ("attach a b", "One run at a time"),
    ("doctor now", "is no flag"),
]

# YAML files, and words of their messages.
YAML: list[tuple[str, str]] = [
    ("- a\n- b\n", "found a list"),
    ("just text", "found plain text"),
    ("model: [\n", "not valid YAML"),
    ("model: 'x\n", "not valid YAML"),
    ("\tmodel: x\n", "not valid YAML"),
    ("model: x\nmodel: y\n", "stands twice"),
    ("1: x\n", "is no option name"),
    ("learning_rte: 1\n", "line 1: learning_rte: not an option. Did you mean 'learning_rate'?"),
    ("iters: true\n", "not a whole number"),
    ("iters: ten\n", "line 1: iters: 'ten' is not a whole number"),
    ("model: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ("model: &a [*a]\n", "not text"),
    ("lora_parameters: 5\n", "not a mapping"),
    ("lora_parameters:\n  rnak: 8\n", "Did you mean 'rank'?"),
    ("lora_parameters:\n  keys: q_proj\n  rank: [8]\n", "not a whole number"),
    ("optimizer_config:\n  adm: {}\n", "no optimizer"),
    ("optimizer_config:\n  adam: {learning_rate: 1}\n", "belongs to the option of that name"),
    ("optimizer_config:\n  adam: 3\n", "not a mapping"),
    ("lr_schedule: cosine\n", "not a mapping"),
    ("lr_schedule:\n  name: cosine\n  arguments: [1]\n", "is not one of"),
    ("lr_schedule:\n  name: cosine_decay\n", "is missing"),
    ("lr_schedule:\n  name: cosine_decay\n  arguments: [1.0e-5]\n", "takes [init"),
    ("lr_schedule:\n  name: cosine_decay\n  arguments: [1.0e-5, 0]\n", "whole number of steps"),
    ("lr_schedule:\n  name: cosine_decay\n  arguments: [.nan, 9]\n", "init is nan"),
    ("lr_schedule:\n  name: cosine_decay\n  arguments: [1, 9]\n  warmup: -1\n", "at least 0"),
    ("hf_dataset: x\n", "not a mapping"),
    ("seed: 1e400\n", "not a finite number"),
    ("a: &a {b: 1}\n<<: *a\n", "not an option"),
]

S, C = ADAPTER_WEIGHTS, ADAPTER_CONFIG


def keys(name: str, **values: Any) -> Spoil:
    return lambda folder: edited(folder / name, **values)


def parameters(**values: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        told = json.loads((folder / C).read_text())["lora_parameters"]
        edited(folder / C, lora_parameters=told | values)

    return spoil


def weights(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Spoil:
    def spoil(folder: Path) -> None:
        found = {name: array.copy() for name, array in load_file(folder / S).items()}
        save_file(change(found), folder / S)

    return spoil


def text(name: str, content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def instead(name: str, make: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def cut(name: str, to: int) -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:to])


FIT = "does not fit this model"
ADAPTERS: dict[str, tuple[Spoil, str]] = {
    "cut off": (cut(S, 500), "Is it complete?"),
    "cut off by a byte": (cut(S, -1), "Is it complete?"),
    "random": (text(S, bytes(range(250)) * 4), "can't be read"),
    "empty": (text(S, b""), "can't be read"),
    "no config": (lambda d: (d / C).unlink(), "has no adapter_config.json"),
    "broken config": (text(C, "{"), "can't be read"),
    "config of another kind": (text(C, "[]"), "no JSON object"),
    "config in another coding": (text(C, b"\xff\xfe{}"), "can't be read"),
    "config without end": (text(C, "[" * 100_000), "nested too deeply"),
    "config as a folder": (instead(C, lambda p: p.mkdir()), "folder, pipe or device"),
    "config as a pipe": (instead(C, os.mkfifo), "folder, pipe or device"),
    "config as a device": (
        instead(C, lambda p: p.symlink_to("/dev/zero")),
        "folder, pipe or device",
    ),
    "weights as a folder": (instead(S, lambda p: p.mkdir()), "holds no adapters.safetensors"),
    "weights as a device": (
        instead(S, lambda p: p.symlink_to("/dev/zero")),
        "holds no adapters.safetensors",
    ),
    "no num_layers": (keys(C, num_layers=None), "num_layers is missing"),
    "num_layers in words": (keys(C, num_layers="two"), "no count"),
    "more layers": (keys(C, num_layers=99), FIT),
    "all layers": (keys(C, num_layers=-1), FIT),
    "fewer layers": (keys(C, num_layers=1), FIT),
    "dora": (keys(C, fine_tune_type="dora"), FIT),
    "full": (keys(C, fine_tune_type="full"), FIT),
    "unknown type": (keys(C, fine_tune_type="qlora"), "fine_tune_type"),
    "no parameters": (keys(C, lora_parameters=None), "lora_parameters is missing"),
    "another rank": (parameters(rank=4), FIT),
    "rank in words": (parameters(rank="x"), "no rank"),
    "a huge rank": (parameters(rank=10**9), "no rank"),
    "scale in words": (parameters(scale="x"), "no finite number"),
    "scale nan": (parameters(scale=float("nan")), "no finite number"),
    "dropout 2": (parameters(dropout=2), FIT),
    "unknown keys": (parameters(keys=["self_attn.q_prok"]), FIT),
    "keys as text": (parameters(keys="self_attn"), "no list of names"),
    "NaN": (weights(lambda w: {k: v * np.float32("nan") for k, v in w.items()}), "NaN"),
    "some only": (weights(lambda w: dict(list(w.items())[:4])), "is missing"),
    "none": (weights(lambda w: {}), "holds no weights"),
    "others": (weights(lambda w: {"x": np.zeros(1, np.float32)}), "has no place"),
    "whole numbers": (weights(lambda w: {k: v.astype("int32") for k, v in w.items()}), "whole"),
    "another family": (keys(C, model_type="qwen2"), "of the family qwen2"),
}

M, T = "config.json", "tokenizer_config.json"
MODELS: dict[str, tuple[Spoil, str]] = {
    "no eps": (keys(M, rms_norm_eps=None), "rms_norm_eps"),
    "eps in words": (keys(M, rms_norm_eps="x"), "rms_norm_eps is 'x'"),
    "theta 0": (keys(M, rope_theta=0), "must be above 0"),
    "three heads": (keys(M, num_attention_heads=3), "can't be loaded"),
    "other groups": (keys(M, num_key_value_heads=3), "Expected shape"),
    "no groups": (keys(M, num_key_value_heads=0), "can't be loaded"),
    "another width": (keys(M, intermediate_size=100), "Expected shape"),
    "fewer words": (keys(M, vocab_size=100), "Expected shape"),
    "fewer blocks": (keys(M, num_hidden_layers=2), "not in model"),
    "more blocks": (keys(M, num_hidden_layers=8), "Missing"),
    "a head that is not there": (keys(M, tie_word_embeddings=False), "Missing 1"),
    "half a quantisation": (keys(M, quantization={"bits": 4}), "it lacks 'group_size'"),
    "quantisation in words": (keys(M, quantization="4 bits"), "can't be loaded"),
    "unknown rope": (keys(M, rope_scaling={"type": "yarn2", "factor": 2}), "yarn2"),
    "rope in words": (keys(M, rope_parameters="x"), "rope_parameters"),
    "eos in words": (keys(M, eos_token_id="x"), "which is no token"),
    "eos below 0": (keys(M, eos_token_id=-1), "which is no token"),
    "length in words": (keys(M, max_position_embeddings="x"), "max_position_embeddings"),
    "another activation": (keys(M, hidden_act="relu"), "hidden_act = relu"),
    "architectures as a number": (keys(M, architectures=5), "can't be loaded"),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer"),
    "settings of another kind": (text(T, "[]"), "no JSON object"),
    "an empty tokenizer": (text("tokenizer.json", ""), "Failed to parse tokenizer.json"),
    "a tokenizer of nothing": (text("tokenizer.json", "{}"), "the tokenizer in"),
    "a tokenizer in another coding": (text("tokenizer.json", b"\xff"), "can't decode byte"),
    "a config in another coding": (text(M, b"\xff\xfe"), "can't be read"),
    "an empty config": (text(M, ""), "can't be read"),
    "a config of another kind": (text(M, "[1]"), "no JSON object"),
    "a config with a mark": (text(M, b"\xef\xbb\xbf{}"), "can't be read"),
    "a config as a folder": (instead(M, lambda p: p.mkdir()), "no config.json"),
    "cut off": (cut("model.safetensors", -100), "Was it fetched completely?"),
    "empty": (text("model.safetensors", b""), "is damaged"),
    "weights as a folder": (instead("model.safetensors", lambda p: p.mkdir()), "folder, pipe"),
    "a broken template": (text("chat_template.jinja", "{% for %}"), "not valid Jinja"),
    "an unknown family": (keys(M, model_type="gpt9"), "gpt9"),
    "no family": (keys(M, model_type=None), "names no model_type"),
}

NAMES: list[tuple[str, str]] = [
    ("/no/such", "does not exist"),
    ("no/such/deep", "does not exist"),
    ("http://x/y", "does not exist"),
    ("a b", "does not exist"),
    (".", "no config.json"),
    ("Qwen/Qwen3-none", "could not be fetched"),
    ("~nobody/x", "does not exist"),
]
ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"betas": "x"}, "optimizer_config.adam"),
    ({"bettas": [0.9, 0.99]}, "bettas"),
    ({"betas": [2, 2]}, "beta1"),
    ({"betas": None}, "optimizer_config.adam"),
    ({"eps": -1}, "epsilon"),
]


def clear(problem: LoraError, words: str) -> None:
    """Whether a message is one: it holds the words, and nothing of Python's."""
    message = str(problem)
    assert words in message
    assert "Traceback" not in message
    assert not message.startswith("Unexpected")
    assert len(message) < 1500


@pytest.fixture(autouse=True)
def soon() -> Any:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def test_there_are_enough_of_them() -> None:
    tables = (LINES, YAML, ADAPTERS, MODELS, NAMES, ARGUMENTS, MACHINES)
    assert sum(map(len, tables)) >= 200


@pytest.mark.parametrize(("line", "words"), LINES, ids=[ascii(line)[:60] for line, _ in LINES])
def test_a_wrong_line(line: str, words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    verb, *rest = line.split(" ")
    with pytest.raises(LoraError) as caught:
        call(COMMANDS[verb], rest)
    clear(caught.value, words)


@pytest.mark.parametrize(("content", "words"), YAML)
def test_a_wrong_file(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(content)
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, file=file)
    clear(caught.value, words)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_wrong_adapter(name: str, finished: Path, model: Path, tmp_path: Path) -> None:
    spoil, words = ADAPTERS[name]
    trained = RunFolder(finished).adapter_path
    assert trained is not None
    folder = tmp_path / "adapter"
    folder.mkdir()
    for part in (S, C):
        shutil.copyfile(trained / part, folder / part)
    spoil(folder)
    base = load_base(model, TrainConfig(model=str(model))).model
    with pytest.raises(LoraError) as caught:
        put_on(base, find_adapter(str(folder)))
    clear(caught.value, words)


def test_a_good_adapter_is_accepted(finished: Path, model: Path) -> None:
    trained = RunFolder(finished).adapter_path
    assert trained is not None
    put_on(load_base(model, TrainConfig(model=str(model))).model, trained)


def test_an_adapter_of_another_family(finished: Path, home: Path) -> None:
    """Its layers have the same names and shapes."""
    trained = RunFolder(finished).adapter_path
    assert trained is not None
    other = model_folder(home, "qwen2")
    with pytest.raises(LoraError, match="of the family llama, this one is of qwen2"):
        put_on(load_base(other, TrainConfig(model=str(other))).model, trained)


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_model(name: str, model: Path, tmp_path: Path) -> None:
    spoil, words = MODELS[name]
    folder = shutil.copytree(model, tmp_path / "model")
    spoil(folder)
    options = TrainConfig(model=str(folder))

    def loaded() -> None:
        resolve_template(load_words(find_model(str(folder)), options), None)
        load_base(folder, options)

    with pytest.raises(LoraError) as caught:
        loaded()
    clear(caught.value, words)


@pytest.mark.parametrize(("name", "words"), NAMES)
def test_a_wrong_name(name: str, words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoraError) as caught:
        find_model(name)
    clear(caught.value, words)


@pytest.mark.parametrize(("arguments", "words"), ARGUMENTS)
def test_wrong_arguments_of_an_optimizer(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(LoraError) as caught:
        make_optimizer(TrainConfig(optimizer_config={"adam": arguments}))
    clear(caught.value, words)


def test_weights_to_start_from_that_are_none(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "adapters.safetensors"
    mx.save_safetensors(str(file), {"x": mx.zeros(2)})
    base = load_base(model, TrainConfig(model=str(model))).model
    base.freeze()
    with pytest.raises(LoraError) as caught:
        start_from(base, str(file), {"fine_tune_type": "lora"})
    clear(caught.value, "has no place in this model")


# Machines on which something is amiss: what is done to the environment or the working folder,
# flags, and words of the message; without words, the run completes all the same.
Prepare = Callable[[Path, dict[str, str]], object]


def variables(**values: str | None) -> Prepare:
    def prepare(_place: Path, environment: dict[str, str]) -> None:
        for name, value in values.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value

    return prepare


def a_file(name: str) -> Prepare:
    return lambda place, _environment: (place / name).write_text("a file")


def a_compiler(script: str) -> Prepare:
    def prepare(place: Path, environment: dict[str, str]) -> None:
        folder = place / "bin"
        folder.mkdir()
        (folder / "g++").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "g++").chmod(0o755)
        environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"
        del environment["MLX_DISABLE_COMPILE"]
        environment["XDG_CACHE_HOME"] = str(place / "cache")

    return prepare


def no_compiler(place: Path, environment: dict[str, str]) -> None:
    (place / "bin").mkdir()
    environment["PATH"] = str(place / "bin")
    del environment["MLX_DISABLE_COMPILE"]
    environment["XDG_CACHE_HOME"] = str(place / "cache")


def full_disk(_place: Path, environment: dict[str, str]) -> None:
    environment["TEST_LIMIT_KB"] = "200"


MACHINES: dict[str, tuple[Prepare, str, str]] = {
    "a file where runs go": (a_file("runs"), "", "Can't make a run folder"),
    "runs below a file": (variables(LORA_NB_RUNS="/dev/null/runs"), "", "Can't make a run folder"),
    "a file where adapters go": (a_file("mine"), "--adapter-path mine", "mine"),
    "adapters below a file": (a_file("mine"), "--adapter-path mine/deep", "mine/deep"),
    "no language": (variables(LANG=None, LC_ALL=None), "", ""),
    "only ASCII": (
        variables(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
        "",
        "",
    ),
    "no home": (variables(HOME=None, XDG_CACHE_HOME=None), "", ""),
    "a home that is none": (variables(HOME="/dev/null", XDG_CACHE_HOME=None), "", ""),
    "a TMPDIR that is missing": (variables(TMPDIR="/no/such/folder"), "", ""),
    "a cache that can't be written": (variables(HF_HOME="/dev/null/hf"), "", ""),
    "no compiler": (no_compiler, "", ""),
    "a compiler that fails": (a_compiler("exit 1"), "", ""),
    "a compiler that makes nothing": (a_compiler("exit 0"), "", ""),
    "a BLAS that is none": (variables(LORA_NB_BLAS="/no/such.so"), "", ""),
    "a full disk": (full_disk, "--rank 64 --num-layers -1", "Free some disk space"),
}

# Files may grow to so many kilobytes only: writing more fails as on a full disk.
_CONSOLE = """
import os, resource, signal, sys
limit = os.environ.pop("TEST_LIMIT_KB", "")
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit) * 1000, int(limit) * 1000))
from lora_nb.console import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_with_a_fault(name: str, home: Path, tmp_path: Path) -> None:
    prepare, flags, words = MACHINES[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("LORA_NB_RUNS")
    # Kernels would have to be compiled anew where there is another cache.
    environment["MLX_DISABLE_COMPILE"] = "1"
    prepare(tmp_path, environment)
    options = options_for(home, iters=2, save_every=1, val_batches=0)
    line = [
        word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CONSOLE, "train", *map(str, line), *flags.split()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if not words:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "adapters" / S).is_file()
        return
    assert done.returncode == 1, done.stdout
    assert words in done.stderr
    assert "Unexpected" not in done.stderr
