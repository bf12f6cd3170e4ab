"""`--data wikisql`: a data set of the Hub, from the download to a trained adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_nb.config import TrainConfig
from lora_nb.runs import attach, launch
from lora_nb.runs.events import DataReady, Ended, TrainLoss
from tests.hub import Hub, hub_of
from tests.tiny import python

WIKISQL = "mlx-community/WikiSQL"


def wikisql(count: int, start: int) -> bytes:
    """Rows as WikiSQL has them there: table, columns, question and answer in one text."""
    rows = (
        {
            "text": f"table: 1-10{number}-{number % 9}\ncolumns: Player, No., Nationality, School"
            f"\nQ: What is player {number}'s number?\nA: SELECT No. FROM 1-10{number}-"
            f"{number % 9} WHERE Player = 'Player {number}'"
        }
        for number in range(start, start + count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    files = {
        "README.md": b"---\nlicense: mit\n---\n# WikiSQL\n",
        "train.jsonl": wikisql(40, 0), "valid.jsonl": wikisql(6, 100), "test.jsonl": wikisql(5, 200)
    }  # fmt: skip
    with hub_of(WIKISQL, files) as found:
        yield found


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


_LOOK = """
import json, sys
import lora_nb
report = lora_nb.data_report(sys.argv[1])
splits = dict(report.splits.items())
table = type(splits["train"].records)
calls, real = [], table.__getitem__
table.__getitem__ = lambda self, place: calls.append(place) or real(self, place)
prints = [rows.fingerprint() for rows in splits.values()]
assert not calls, "the rows were read one by one"
again = dict(lora_nb.data_report(sys.argv[1]).splits.items())
assert prints == [rows.fingerprint() for rows in again.values()]
print(json.dumps({
    "rows": {name: len(rows) for name, rows in splits.items()}, "where": splits["valid"].where(3),
    "first": splits["train"][0], "ok": report.ok, "found": list(splits["test"].find("PLAYER 203'")),
    "prints": len(set(prints)), "modules": sorted({"torch", "mlx"} & set(sys.modules)),
}))
"""
_LOOK_TWICE = """
import sys
from pathlib import Path
import lora_nb
from lora_nb.dataset import cache, look
cache.folder = lambda: Path(sys.argv[2])
first = lora_nb.data_report("wikisql", model=sys.argv[1])
look.launch = None
second = lora_nb.data_report("wikisql", model=sys.argv[1])
assert str(first) == str(second)
print(int(second.summary.loc["train", "tokens_total"]))
"""


@pytest.mark.parametrize("name", ["wikisql", "WikiSQL", WIKISQL])
def test_it_is_loaded_from_the_hub(name: str, hub: Hub, hub_home: Path) -> None:
    done = python(_LOOK, name, **hub.environment(hub_home))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] == {"train": 40, "valid": 6, "test": 5}
    assert said["where"] == f"{WIKISQL} validation[3]"
    assert said["first"] == json.loads(wikisql(1, 0))
    assert said["ok"]
    assert said["found"] == [3]
    assert said["prints"] == 3
    assert said["modules"] == []
    assert f"GET /datasets/{WIKISQL}/resolve" in " ".join(hub.asked)


def test_what_was_counted_is_found_again(
    hub: Hub, hub_home: Path, model: Path, tmp_path: Path
) -> None:
    environment = hub.environment(hub_home) | {"LORA_NB_RUNS": str(tmp_path / "runs")}
    done = python(_LOOK_TWICE, str(model), str(tmp_path / "cache"), **environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 40 * 20


def test_the_example_of_the_guide_trains(
    hub: Hub, hub_home: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in hub.environment(hub_home).items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    line = f"train --model {model} --batch-size 1 --lora-layers 4 --data wikisql --iters 6"
    from lora_nb.commands.command import Call
    from lora_nb.commands.table import COMMANDS
    from lora_nb.config import parse_flags

    words = [*line.split()[1:], "--steps-per-report", "2", "--max-seq-length", "256"]
    config = Call(parse_flags(words, COMMANDS["train"].flags)).config(TrainConfig)
    run = launch.start(config)
    assert attach.wait(run, 120), run.log_tail()
    events = [record.event for record in run.records()]
    (end,) = [event for event in events if isinstance(event, Ended)]
    assert end.status == "completed", end.message
    (ready,) = [event for event in events if isinstance(event, DataReady)]
    assert ready.rows == {"train": 40, "valid": 6}
    losses = [event.loss for event in events if isinstance(event, TrainLoss)]
    assert len(losses) == 3
    assert all(0 < loss < 20 for loss in losses)
    assert (tmp_path / "adapters" / "adapters.safetensors").is_file()


def test_a_data_set_that_is_not_there_says_so(hub: Hub, tmp_path: Path) -> None:
    code = "import sys, lora_nb\nlora_nb.data_report('mlx-community/WikiSLQ')"
    done = python(code, **hub.environment(tmp_path))
    assert done.returncode == 1
    assert "is neither a folder here nor a data set on Hugging Face" in done.stderr
