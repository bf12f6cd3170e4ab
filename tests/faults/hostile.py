"""Model folders that try to run code, to read what isn't theirs, or to hang."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["CANARY", "HOSTILE", "Spoil", "copy_of", "edited"]

Spoil = Callable[[Path], object]

# Whatever runs writes this file; its place comes from the environment.
CANARY = "LORA_NB_TEST_CANARY"
EVIL = f"import os, pathlib\npathlib.Path(os.environ[{CANARY!r}]).write_text('ran')\n"
MODEL_CODE = EVIL + "from mlx_lm.models.llama import Model, ModelArgs\n"
TOKENIZER_CODE = (
    EVIL
    + "from transformers import PreTrainedTokenizerFast\n"
    + "class Evil(PreTrainedTokenizerFast):\n    pass\n"
)
CONFIG_CODE = (
    EVIL + "from transformers import LlamaConfig\nclass EvilConfig(LlamaConfig):\n    pass\n"
)


def copy_of(model: Path, place: Path) -> Path:
    """A copy of a model folder to spoil."""
    shutil.copytree(model, place)
    return place


def edited(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes a key out."""
    told = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


def config(**values: Any) -> Spoil:
    return lambda m: edited(m / "config.json", **values)


def settings(**values: Any) -> Spoil:
    return lambda m: edited(m / "tokenizer_config.json", **values)


def both(*spoils: Spoil) -> Spoil:
    def all_of(model: Path) -> None:
        for spoil in spoils:
            spoil(model)

    return all_of


def code(name: str, text: str) -> Spoil:
    def write(model: Path) -> None:
        path = model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def link(name: str, target: str) -> Spoil:
    def make(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(target)

    return make


def header(text: bytes, rest: bytes = b"", length: int | None = None) -> Spoil:
    size = len(text) if length is None else length
    return lambda m: (m / "model.safetensors").write_bytes(struct.pack("<Q", size) + text + rest)


class _Evil:
    def __reduce__(self) -> Any:
        return (exec, (EVIL,))


def pickled(name: str, *, alone: bool = True) -> Spoil:
    def write(model: Path) -> None:
        if alone:
            (model / "model.safetensors").unlink()
        (model / name).write_bytes(pickle.dumps(_Evil()))

    return write


def template(text: str) -> Spoil:
    return settings(chat_template=text)


def _growing(model: Path) -> None:
    """A normaliser that makes 2^40 letters of one."""
    told = json.loads((model / "tokenizer.json").read_text())
    one = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    told["normalizer"] = {"type": "Sequence", "normalizers": [one] * 40}
    (model / "tokenizer.json").write_text(json.dumps(told))


def _slow_regex(model: Path) -> None:
    told = json.loads((model / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": r"((a|a)+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    (model / "tokenizer.json").write_text(json.dumps(told))


def _deep(name: str) -> Spoil:
    return lambda m: (m / name).write_text('{"a":' + "[" * 200_000 + "]" * 200_000 + "}")


def _fifo(name: str) -> Spoil:
    def make(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        os.mkfifo(model / name)

    return make


def _index(name: str) -> Spoil:
    told = {"weight_map": {"model.embed_tokens.weight": name}}
    return lambda m: (m / "model.safetensors.index.json").write_text(json.dumps(told))


_LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
_DOUBLE = (
    "{% set n = namespace(t='0123456789') %}{% for i in range(60) %}"
    "{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}"
)
_SSTI = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    "{{ cycler.__init__.__globals__.os.system('touch $" + CANARY + "') }}"
)

# What is done to a good model, and words of the message that it leads to.
HOSTILE: dict[str, tuple[Spoil, str]] = {
    # Code that would run
    "model_file": (
        both(config(model_file="evil.py"), code("evil.py", MODEL_CODE)),
        "brings code of its own",
    ),
    "model_file above": (
        both(config(model_file="../evil.py"), code("../evil.py", MODEL_CODE)),
        "wants to run '../evil.py'",
    ),
    "model_file absolute": (config(model_file="/tmp/evil.py"), "wants to run '/tmp/evil.py'"),
    "model_file by a link": (
        both(
            code("../evil.py", MODEL_CODE), link("in.py", "../evil.py"), config(model_file="in.py")
        ),
        "link that leads out",
    ),
    "model_file by a folder's link": (
        both(
            code("../far/evil.py", MODEL_CODE),
            link("near", "../far"),
            config(model_file="near/evil.py"),
        ),
        "no .py file inside",
    ),
    "model_file is a library": (
        both(config(model_file="evil.so"), code("evil.so", "not really")),
        "wants to run 'evil.so'",
    ),
    "model_file is a list": (config(model_file=["evil.py"]), "wants to run"),
    "tokenizer's auto_map": (
        both(
            settings(tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
            config(model_type="evil"),
            code("evil.py", TOKENIZER_CODE),
        ),
        "brings code of its own",
    ),
    "tokenizer's auto_map as a list": (
        both(
            settings(tokenizer_class="Evil", auto_map=["evil.Evil", "evil.Evil"]),
            config(model_type="evil"),
            code("evil.py", TOKENIZER_CODE),
        ),
        "brings code of its own",
    ),
    "auto_map of another repository": (
        both(
            settings(
                tokenizer_class="Evil", auto_map={"AutoTokenizer": ["me/repo--evil.Evil", None]}
            ),
            config(model_type="evil"),
        ),
        "code of another repository",
    ),
    "config's auto_map": (
        both(
            config(model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"}),
            code("evil.py", CONFIG_CODE),
        ),
        "evil",
    ),
    "a processor as tokenizer_class": (
        both(
            settings(tokenizer_class="AutoProcessor"),
            config(model_type="evil"),
            code("processor_config.json", '{"auto_map": {"AutoProcessor": "evil.Evil"}}'),
            code("evil.py", TOKENIZER_CODE),
        ),
        "no tokenizer",
    ),
    "a pipeline as tokenizer_class": (
        both(
            settings(tokenizer_class="pipeline"),
            config(custom_pipelines={"evil": {"impl": "evil.Evil"}}),
            code("evil.py", TOKENIZER_CODE),
        ),
        "no tokenizer",
    ),
    "a path as tokenizer_class": (settings(tokenizer_class="../evil.Evil"), "no class"),
    "tokenizer_class of nothing but text": (settings(tokenizer_class=["Evil"]), "no class"),
    "chat_template_type as a path": (
        both(settings(chat_template_type="../../evil"), code("evil.py", EVIL)),
        "chat_template_type",
    ),
    "tool_parser_type as a path": (
        both(settings(tool_parser_type="x/../../evil"), code("evil.py", EVIL)),
        "tool_parser_type",
    ),
    "tool_parser_type that is none": (settings(tool_parser_type="evil"), "evil"),
    "model_type as a path": (config(model_type="../../evil"), "names no family"),
    "model_type as a list": (config(model_type=["llama"]), "names no family"),
    "pickled weights": (pickled("pytorch_model.bin"), "only as pytorch_model.bin"),
    "pickled weights, .pt": (pickled("model.pt"), "only as model.pt"),
    "a template that reaches for the system": (template(_SSTI), "template refuses"),
    "a template that reaches for files": (
        template("{% include '/etc/passwd' %}"),
        "template refuses",
    ),
    "yaml and others beside it": (
        both(
            code("setup.py", EVIL),
            code("sitecustomize.py", EVIL),
            code("conftest.py", EVIL),
            config(vocab_size=10**9),
        ),
        "a vocabulary of",
    ),
    # Paths that lead out
    "a link as tokenizer": (link("tokenizer.json", "/etc/hostname"), "leads out"),
    "a link as config": (link("config.json", "/dev/zero"), "leads out"),
    "a link as template": (link("chat_template.jinja", "/etc/passwd"), "leads out"),
    "a link as weights": (link("model.safetensors", "/dev/zero"), "leads out"),
    "a link to nothing": (link("generation_config.json", "/nowhere/x"), "leads out"),
    "an index that names a file above": (_index("../model.safetensors"), "outside the model"),
    "an index that names an absolute path": (_index("/etc/passwd"), "outside the model"),
    "an index of something else": (
        code("model.safetensors.index.json", '{"weight_map": [1]}'),
        "no weight_map",
    ),
    # What hangs, or fills the memory
    "ten million blocks": (config(num_hidden_layers=10**7), "asks for 10,000,000 blocks"),
    "a vocabulary of a billion": (config(vocab_size=10**9), "a vocabulary of 1,000,000,000"),
    "a width of a billion": (config(hidden_size=10**9), "asks for"),
    "an inner width of a billion": (config(intermediate_size=10**9), "asks for a width of"),
    "less than no blocks": (config(num_hidden_layers=-1), "no count"),
    "a number that is none": (config(num_hidden_layers="4"), "no count"),
    "a number beyond all": (config(hidden_size=10**300), "no count"),
    "a text part that is none": (config(text_config="x"), "text_config"),
    "more heads than width": (config(num_attention_heads=10**8), "can't be loaded"),
    "no heads": (config(num_attention_heads=0), "can't be loaded"),
    "a pipe as config": (_fifo("config.json"), "config.json"),
    "a pipe as tokenizer": (_fifo("tokenizer.json"), "pipe or device"),
    "a config without end": (_deep("config.json"), "nested too deeply"),
    "a generation config without end": (_deep("generation_config.json"), "nested too deeply"),
    "a generation config of another kind": (code("generation_config.json", "[]"), "no JSON object"),
    "tokenizer settings without end": (_deep("tokenizer_config.json"), "nested too deeply"),
    "a tokenizer without end": (_deep("tokenizer.json"), "nested too deeply"),
    "a header larger than the file": (header(b"{}", length=10**15), "does not fit"),
    "a header of gigabytes": (header(b"{}", b" " * 9, length=2**63), "does not fit"),
    "a header without end": (header(b"[" * 200_000), "not valid JSON"),
    "a header that lies": (
        header(b'{"a":{"dtype":"F32","shape":[999999999,9999],"data_offsets":[0,4]}}', b"1234"),
        "not that of its shape",
    ),
    "a tensor behind the file's end": (
        header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[96,100]}}', b"1234"),
        "behind the end of the file",
    ),
    "a tensor before its begin": (
        header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,-4]}}', b"1234"),
        "does not describe a rightly",
    ),
    "a template that never ends": (template(_LOOP), "cut off"),
    "a template that fills the memory": (template(_DOUBLE), "cut off"),
    "a template of one huge text": (template("{{ 'ab' * 9000000000 }}"), "cut off"),
    "a template of a huge number": (template("{{ 9 ** (9 ** 9) }}"), "cut off"),
    "a template of much text": (template("{{ 'ab' * 9000000 }}"), "18,000,000 characters"),
    "a tokenizer of endless text": (_growing, "model's tokenizer"),
    "a tokenizer of slow expressions": (_slow_regex, "retry-limit-in-match over"),
}
