"""Quality of the demo: exact matches on its test rows before and after training.

    python benchmarks/demo_quality.py                           # trains with the demo's defaults
    python benchmarks/demo_quality.py --seeds 0 1 2
    python benchmarks/demo_quality.py --adapter-path adapters   # of a training made before
    python benchmarks/demo_quality.py --fluency --show 5

Decoding is greedy; an answer counts when it equals the row's completion after `strip`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx_lm import batch_generate, load

from lora_nb.config import TrainConfig
from lora_nb.config import load as load_config
from lora_nb.demo import DATA_PATH, MODEL_PATH
from lora_nb.runs import attach, launch
from lora_nb.runs.events import TrainLoss

MAX_TOKENS = 96


@dataclass(frozen=True)
class Row:
    """A prompt and the answer that is right."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Score:
    """Answers to rows, in the rows' order."""

    rows: list[Row]
    answers: list[str]

    @property
    def misses(self) -> list[tuple[Row, str]]:
        """The rows whose answer is wrong, with that answer."""
        pairs = zip(self.rows, self.answers, strict=True)
        return [(row, answer) for row, answer in pairs if answer.strip() != row.completion.strip()]

    @property
    def exact_match(self) -> float:
        """The share of answers that are right, 0 to 1."""
        return 1 - len(self.misses) / len(self.rows)


def read_rows(path: Path) -> list[Row]:
    """Read rows of prompt and completion from a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        return [Row(row["prompt"], row["completion"]) for row in map(json.loads, lines)]


def generate(model_path: Path, adapter_path: Path | None, prompts: list[str]) -> list[str]:
    """Return the model's greedy answers to prompts given as user turns."""
    adapter = None if adapter_path is None else str(adapter_path)
    model, tokenizer = load(str(model_path), adapter_path=adapter)[:2]
    if mx.default_device() == mx.Device(mx.cpu):
        model.set_dtype(mx.float32)
    tokens = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        for prompt in prompts
    ]
    texts: list[str] = batch_generate(model, tokenizer, tokens, max_tokens=MAX_TOKENS).texts
    return texts


def score(model_path: Path, adapter_path: Path | None, rows: list[Row]) -> Score:
    """Return the model's answers to rows."""
    return Score(rows, generate(model_path, adapter_path, [row.prompt for row in rows]))


def train(folder: Path, seed: int) -> tuple[Path, float]:
    """Train with the demo's defaults; returns the adapter and the seconds spent training."""
    flags = {
        "model": "demo",
        "data": "demo",
        "seed": seed,
        "adapter_path": str(folder / "adapters"),
    }
    run = launch.start(load_config(TrainConfig, flags=flags), folder / "runs")
    seconds = 0.0
    for record in attach.follow(run):
        if isinstance(record.event, TrainLoss):
            seconds = record.event.elapsed
    if run.status != "completed" or run.adapter_path is None:
        raise SystemExit(f"The training {run.status}:\n{run.log_tail()}")
    return run.adapter_path, seconds


def plain_english() -> list[Row]:
    """Return the test rows with the answer the base model should give; they are built anew."""
    from lora_nb.demo.build.__main__ import SEED
    from lora_nb.demo.build.corpus import demo_queries

    return [Row(query.prompt(), query.english()) for query in demo_queries(SEED)["test"]]


def report(name: str, found: Score, seconds: float, show: int) -> None:
    """Print a score and some of its misses."""
    right = len(found.rows) - len(found.misses)
    share = f"{found.exact_match:.1%} ({right} of {len(found.rows)})"
    print(f"{name}: exact match {share}, {seconds:.1f} s")
    for row, answer in found.misses[:show]:
        print(f"  prompt: {row.prompt!r}\n  wanted: {row.completion}\n  answer: {answer.strip()}")


def main() -> None:
    """Print the scores that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_PATH)
    parser.add_argument("--adapter-path", type=Path, help="folder of the trained adapter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds to train with")
    parser.add_argument("--data", type=Path, default=DATA_PATH / "test.jsonl")
    parser.add_argument("--fluency", action="store_true", help="also score the plain English")
    parser.add_argument("--show", type=int, default=0, help="misses to print for each score")
    arguments = parser.parse_args()
    rows = read_rows(arguments.data)
    _print("before training", arguments, None, rows)
    if arguments.fluency:
        _print("base model's English", arguments, None, plain_english())
    if arguments.adapter_path:
        _print("after training", arguments, arguments.adapter_path, rows)
        return
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            adapter, seconds = train(Path(folder), seed)
            print(f"seed {seed}: {seconds:.0f} s of training")
            _print(f"after training, seed {seed}", arguments, adapter, rows)


def _print(name: str, arguments: argparse.Namespace, adapter: Path | None, rows: list[Row]) -> None:
    start = time.perf_counter()
    found = score(arguments.model, adapter, rows)
    report(name, found, time.perf_counter() - start, arguments.show)


if __name__ == "__main__":
    main()
