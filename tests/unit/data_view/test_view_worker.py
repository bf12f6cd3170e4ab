"""Tokens are counted by a worker, rows are encoded by the engine, and faults stop a training."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.config import DataConfig, TrainConfig
from lora_nb.data.doctor import examine
from lora_nb.data.masks import mask_of
from lora_nb.data.measure import Measured, measure
from lora_nb.data.survey import Survey, open_all
from lora_nb.data.tokens import Encoder
from lora_nb.dataset import cache, look
from lora_nb.dataset.report import DataReport
from lora_nb.errors import LoraError
from lora_nb.runs import attach, engine, launch
from lora_nb.runs.events import Ended, ModelReady, Notice, Progress
from tests.unit.data.kit import encoder_of


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is started fails the test."""

    def start(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(launch, "start", start)


def measured(encoder: Encoder, config: DataConfig, **options: Any) -> Measured:
    return measure(open_all(config), encoder.tokenizer, encoder.template, config, **options)


@pytest.mark.parametrize("long_rows", ["cut", "split", "drop", "error"])
def test_figures_are_those_of_training(long_rows: str, messy: Path, encoder: Encoder) -> None:
    config = DataConfig(data=str(messy), max_seq_length=40, long_rows=long_rows)  # type: ignore[arg-type]
    found = measured(encoder, config)
    trained = Encoder(encoder.tokenizer, config, encoder.template)
    prepared = examine(open_all(config), trained, config).prepared["train"]
    split = found.splits["train"]
    assert split.rows == 9
    assert (split.sequences, split.tokens, split.trained) == (
        len(prepared), prepared.tokens, prepared.trained
    )  # fmt: skip
    assert (split.cut_rows, split.cut_tokens) == (prepared.cut_rows, prepared.cut_tokens)
    assert (split.dropped, split.skipped) == (prepared.dropped, prepared.skipped)
    whole = encoder_of(encoder.tokenizer)
    lengths = [len(whole.whole(row)) for row in _usable(config)]
    assert split.lengths.counts == tuple((n, lengths.count(n)) for n in sorted(set(lengths)))
    assert Measured.from_json(found.to_json()) == found


def _usable(config: DataConfig) -> list[dict[str, Any]]:
    train = open_all(config).train
    assert train is not None
    return [train.row(number) for number in (0, 1, 3, 6, 8)]


def test_lengths_belong_to_their_split(encoder: Encoder, tmp_path: Path) -> None:
    for name, count in (("train", 450), ("valid", 0), ("test", 201)):
        rows = "".join(json.dumps({"text": name[0] * (i % 5 + 1)}) + "\n" for i in range(count))
        (tmp_path / f"{name}.jsonl").write_text(rows)
    told: list[tuple[int, int]] = []
    found = measured(
        encoder, DataConfig(data=str(tmp_path)), progress=lambda *each: told.append(each)
    )
    assert {name: len(split.lengths) for name, split in found.splits.items()} == {
        "train": 450, "valid": 0, "test": 201
    }  # fmt: skip
    assert told == [(200, 651), (400, 651), (450, 651), (650, 651), (651, 651)]


def test_a_worker_counts_once_and_the_cache_answers_then(
    messy: Path, model: Path, monkeypatch: pytest.MonkeyPatch, runs_root: Path
) -> None:
    options: dict[str, Any] = {"model": model, "mask_prompt": True, "max_seq_length": 64}
    report = lora_nb.data_report(messy, **options)
    assert list(report.summary.columns)[:3] == ["rows", "formats", "keys"]
    train = report.summary.loc["train"]
    assert (train["rows"], train["sequences"], train["formats"]) == (9, 5, "completions, chat")
    assert 0 < train["trained_share"] < 1
    assert train["tokens_used"] + train["cut_tokens"] == train["tokens_total"]
    assert report.findings["code"].tolist()[:4] == ["json", "keys", "null", "role"]
    assert "max_seq_length is 64" in report.alt_text
    assert not list((cache.folder() / "runs").iterdir())
    assert not runs_root.exists(), "these are no runs of the user's"

    monkeypatch.setattr(launch, "start", lambda *_: pytest.fail("a worker was started"))
    again = lora_nb.data_report(messy, **options)
    assert str(again) == str(report)
    assert again.html() == report.html()


@pytest.mark.usefixtures("no_worker")
def test_rows_alone_need_no_worker(messy: Path) -> None:
    assert isinstance(lora_nb.data_report(messy), DataReport)


def test_the_demo_brings_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DataConfig] = []

    def stop(config: DataConfig, *_: object) -> None:
        asked.append(config)
        raise LoraError("enough")

    monkeypatch.setattr(look, "measure_all", stop)
    with pytest.raises(LoraError, match="enough"):
        lora_nb.data_report("demo")
    assert asked[0].model == "demo"


def test_a_failed_worker_says_why(messy: Path, tmp_path: Path) -> None:
    empty = tmp_path / "no-model"
    empty.mkdir()
    with pytest.raises(LoraError, match=r"has no config\.json, so it is no model folder"):
        lora_nb.data_report(messy, model=empty)


def test_an_interrupt_stops_the_counting(
    messy: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = messy / "train.jsonl"
    path.write_text(path.read_text() * 3000)

    def interrupting(*args: Any, **values: Any) -> Any:
        for record in attach_follow(*args, **values):
            if isinstance(record.event, Progress) and not sent.is_set():
                sent.set()
                signal.raise_signal(signal.SIGINT)
            yield record

    sent, attach_follow = threading.Event(), attach.follow
    monkeypatch.setattr(attach, "follow", interrupting)
    with pytest.raises(LoraError, match="Interrupted: not every row was looked at"):
        lora_nb.data_report(messy, model=model)
    assert sent.is_set()
    assert not list((cache.folder() / "runs").iterdir())
    assert not (cache.folder() / "reports").exists()


def test_the_engine_encodes_as_training_does(data: Path, model: Path) -> None:
    from lora_nb.core.load import load_words
    from lora_nb.data.templates import resolve_template

    config = DataConfig(data=str(data), model=str(model), mask_prompt=True, max_seq_length=40)
    tokenizer = load_words(model, config)
    encoder = Encoder(tokenizer, config, resolve_template(tokenizer, None))
    report = DataReport(config, open_all(config), Survey())
    places: list[tuple[int | str, str, int]] = [
        (0, "train", 0), (-1, "train", 47), ("valid:3", "valid", 3), ("test.jsonl:2", "test", 1)
    ]  # fmt: skip
    for place, name, number in places:
        view = report.row(place)
        rows = dict(report.splits.items())[name]
        assert view.row == mask_of(encoder, rows[number], rows.where(number))
        assert view.title == f"{name} row {number} ({rows.where(number)})"
        assert view.row.count("cut") > 0
    everything = dataclasses.replace(config, mask_prompt=False)
    assert engine.encode(everything, {"prompt": "a", "completion": "b"}).count("masked") == 1


def test_the_engine_names_a_faulty_row_and_lives_on(messy: Path, model: Path) -> None:
    config = DataConfig(data=str(messy), model=str(model))
    report = DataReport(config, open_all(config), Survey())
    for place, message in (
        (7, r"train\.jsonl:9: messages\[1\] has the unknown role 'bot'"),
        (2, r"train\.jsonl:3: broken JSON at column 12"),
        (5, r"train\.jsonl:7: 'prompt' is null"),
    ):
        with pytest.raises(LoraError, match=message):
            report.row(place)
    assert report.row(0).row.tokens
    with pytest.raises(LoraError, match=r"nowhere does not exist"):
        engine.encode(dataclasses.replace(config, model="./nowhere"), {"text": "x"})


def test_a_changed_tokenizer_is_loaded_anew(model: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(model, tmp_path / "model"))
    config = DataConfig(model=str(copy))
    row = {"prompt": "a", "completion": "b"}
    before = engine.encode(config, row)
    path = copy / "tokenizer_config.json"
    path.write_text(path.read_text().replace("<|im_end|>\\n{% endfor", "<|im_end|>!{% endfor"))
    after = engine.encode(config, row)
    assert "".join(token.text for token in before.tokens).endswith("<|im_end|>\n")
    assert "".join(token.text for token in after.tokens).endswith("<|im_end|>!")


def test_faulty_rows_stop_a_training_before_the_model_is_loaded(messy: Path, model: Path) -> None:
    run = launch.start(TrainConfig(model=str(model), data=str(messy), iters=1))
    events = [record.event for record in attach.follow(run)]
    (end,) = [event for event in events if isinstance(event, Ended)]
    assert end.status == "failed"
    for place in (3, 5, 7, 9):
        assert f"train.jsonl:{place}: " in end.message
    assert not [event for event in events if isinstance(event, ModelReady)]


def test_warnings_about_rows_are_events_of_a_training_and_shown(
    data: Path, model: Path, tmp_path: Path
) -> None:
    rows = (data / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join([*rows, rows[0]]))
    (tmp_path / "valid.jsonl").write_text(rows[1])
    options: dict[str, Any] = {"iters": 1, "val_batches": 0, "num_layers": 1, "batch_size": 2}
    config = TrainConfig(
        model=str(model), data=str(tmp_path), adapter_path=str(tmp_path / "a"), **options
    )
    run = launch.start(config)
    told = [r.event for r in attach.follow(run) if isinstance(r.event, Notice)]
    warnings = [event.message for event in told if event.level == "warning"]
    assert any(m.startswith("train.jsonl:49: the row is the same as") for m in warnings)
    assert any(m.startswith("valid.jsonl:1: the row is also in train") for m in warnings)
    from lora_nb.display import mimebundle

    for form in ("text/plain", "text/html"):
        assert "train.jsonl:49: the row is the same as train.jsonl:1." in mimebundle(run)[form]
