"""The notebook's process stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import options_for, python

_CHANGES = """
import json, os, resource, signal, sys, threading, warnings
import yaml
from IPython.core.interactiveshell import InteractiveShell
# These change the process, for everybody who uses them.
import huggingface_hub, matplotlib, numpy, pandas

def state():
    return {
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "yaml": [yaml.safe_load("1e-5"), len(yaml.SafeLoader.yaml_implicit_resolvers["1"])],
        "signals": {n: repr(signal.getsignal(n)) for n in range(1, 20) if n not in (9, 19)},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "warnings": [repr(each) for each in warnings.filters],
    }

shell = InteractiveShell.instance()
"""
_UNCHANGED = (
    _CHANGES
    + """
before = state()
import lora_nb
lora_nb.train
shell.run_line_magic("load_ext", "lora_nb")
changed = [key for key, value in state().items() if value != before[key]]

options = json.loads(sys.argv[1])
shell.run_line_magic("lora_runs", "")
run = lora_nb.train(**options)
text = lora_nb.generate("hi", model=options["model"], max_tokens=2)
later = [key for key, value in state().items() if value != before[key]]
loaded = [n for n in ("mlx", "mlx_lm", "transformers", "torch", "lora_nb.core") if n in sys.modules]
print(json.dumps([changed, later, loaded, run.status]))
"""
)
_LIGHT = """
import sys, time
began = time.perf_counter()
import lora_nb
took = time.perf_counter() - began
heavy = {"pandas", "matplotlib", "pydantic", "IPython", "mlx", "mlx_lm", "numpy", "yaml"}
print(took, *sorted(heavy & set(sys.modules)))
"""


def test_importing_is_quick_and_brings_nothing_heavy() -> None:
    found = [python(_LIGHT).stdout.split() for _ in range(2)]
    assert [names for _, *names in found] == [[], []]
    assert min(float(took) for took, *_ in found) < 0.3


def test_loading_training_and_generating_change_nothing(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    options = options_for(home, iters=2, adapter_path=str(tmp_path / "adapters"))
    done = python(_UNCHANGED, json.dumps(options), LORA_NB_RUNS=str(runs_root))
    assert done.returncode == 0, done.stderr
    changed, later, loaded, status = json.loads(done.stdout.splitlines()[-1])
    assert status == "completed"
    assert changed == []
    assert later == []
    assert loaded == []
