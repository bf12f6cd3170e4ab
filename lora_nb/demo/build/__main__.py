"""`python -m lora_nb.demo.build`: writes the demo's rows, tokenizer and base model."""

import argparse
import os
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from lora_nb import demo
from lora_nb.demo.build.corpus import demo_queries, pretraining, save_rows
from lora_nb.demo.build.tokenizer import (
    END,
    END_OF_TEXT,
    render,
    save_tokenizer,
    train_tokenizer,
)

SEED: Final = 0
_TOKENIZER_TEXTS: Final = 30_000
_TOKENIZER_SHARD: Final = -1
"""A shard of its own: the tokenizer's text does not depend on the amount of pretraining."""
_CONTEXT: Final = 512


def write_data(folder: Path, seed: int) -> frozenset[str]:
    """Write the three JSONL files and return every prompt in them."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = demo_queries(seed)
    for name, queries in splits.items():
        save_rows(queries, folder / f"{name}.jsonl")
    return frozenset(query.prompt() for queries in splits.values() for query in queries)


def write_tokenizer(folder: Path, seed: int, avoid: frozenset[str]) -> Tokenizer:
    """Train the tokenizer, write its two files and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = islice(pretraining(seed, _TOKENIZER_SHARD, avoid), _TOKENIZER_TEXTS)
    tokenizer = train_tokenizer("".join(piece for piece, _ in render(text)) for text in texts)
    save_tokenizer(tokenizer, folder, _CONTEXT)
    return tokenizer


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lora_nb.demo.build", description=__doc__)
    here = Path(demo.__file__).parent
    parser.add_argument("--out", type=Path, default=here, help="folder of data/ and model/")
    parser.add_argument("--data-only", action="store_true", help="no weights: rows and tokenizer")
    parser.add_argument("--steps", type=int, default=12_000, help="pretraining steps")
    parser.add_argument("--tokens", type=int, default=32_768, help="tokens a step")
    parser.add_argument("--texts", type=int, default=1_200_000, help="pretraining texts")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=SEED)
    return parser.parse_args()


def main() -> None:
    """Build what the command line asks for."""
    arguments = _arguments()
    seed: int = arguments.seed
    prompts = write_data(arguments.out / "data", seed)
    folder = arguments.out / "model"
    tokenizer = write_tokenizer(folder, seed, prompts)
    print(f"rows and tokenizer are in {arguments.out}", flush=True)
    if arguments.data_only:
        return
    from lora_nb.demo.build import arrays, train

    rows = arrays.pretraining_arrays(tokenizer, seed, arguments.texts, prompts, arguments.processes)
    model = train.new_model(seed)
    print(f"{train.parameter_count(model):,} parameters", flush=True)
    train.pretrain(model, rows, arguments.steps, arguments.tokens, seed)
    vocabulary = tokenizer.get_vocab()
    train.save_model(model, folder, vocabulary[END], vocabulary[END_OF_TEXT])
    print(f"the model is in {folder}", flush=True)


if __name__ == "__main__":
    main()
