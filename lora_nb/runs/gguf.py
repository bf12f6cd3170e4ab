"""What is told of a GGUF file that was written, and its writing in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lora_nb.errors import LoraError
from lora_nb.runs.environment import worker_environment

__all__ = ["GgufReport", "export"]

MARK = "lora_nb-gguf:"


@dataclass
class GgufReport:
    """A GGUF file: what it holds, by what it was checked, and how to use it."""

    path: str
    kind: str
    family: str
    tensors: int
    vocabulary: int
    size: int
    notes: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    modelfile: str = ""

    def __str__(self) -> str:
        size = f"{self.size / 1e6:.1f} MB"
        what = (
            f"{self.family}, {self.kind}, {self.tensors} tensors, {self.vocabulary} tokens, {size}"
        )
        lines = [
            f"{self.path}: {what}",
            *(f"Checked by {check}" for check in self.checks),
            *(f"Note: {note}" for note in self.notes),
            *(f"  {command}" for command in self.commands),
        ]
        return "\n".join(lines)

    __repr__ = __str__

    @property
    def commands(self) -> list[str]:
        """One line each to use the file with llama.cpp and with Ollama."""
        path = shlex.quote(self.path)
        commands = [f"llama-cli -m {path}"]
        if self.modelfile:
            name = Path(self.path).absolute().parent.name.lower() or "model"
            commands.append(
                f"ollama create {shlex.quote(name)} -f {shlex.quote(self.modelfile)}"
                f" && ollama run {shlex.quote(name)}"
            )
        return commands

    def as_json(self) -> str:
        """The report on one line."""
        return json.dumps(asdict(self))


def export(model: str, out: str, kind: str) -> GgufReport:
    """Write and check a GGUF file. Raises LoraError with the reason if that can't be done."""
    ended = subprocess.run(
        [sys.executable, "-m", "lora_nb.export.gguf", model, out, kind],
        env=worker_environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in reversed(ended.stdout.splitlines()):
        if line.startswith(MARK):
            told = json.loads(line.removeprefix(MARK))
            if "problem" in told:
                raise LoraError(told["problem"])
            return GgufReport(**told)
    last = "\n".join(ended.stderr.splitlines()[-5:])
    raise LoraError(f"gguf: the export ended without a word (status {ended.returncode}). {last}")
