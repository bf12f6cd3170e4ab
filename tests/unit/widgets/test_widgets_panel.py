"""What all panels share: fixed words, a record beside the view, errors, recipes, threads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lora_nb.commands.table import COMMANDS
from lora_nb.config import CompareConfig, TrainConfig, load, parse_flags
from lora_nb.display.tables import html_table
from lora_nb.errors import LoraError
from lora_nb.magics.line import words_of
from lora_nb_widgets import panel as panel_module
from lora_nb_widgets import saved, theme
from lora_nb_widgets.panel import VIEW, Panel
from lora_nb_widgets.recipe import Recipe, recipe_of
from tests.html_check import read
from tests.tiny import ROOT, until
from tests.unit.display.test_display_xss import XSS

WIDGETS = ROOT / "widgets" / "lora_nb_widgets"
# What panels may know of the package: never how a model is computed, nor who calls them.
ALLOWED = {"api", "config", "data", "dataset", "display", "errors", "redact", "runs"}


class Output:
    """One output of a cell; `bundles` is what it has shown, one after the other."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def display(self, obj: Mapping[str, Any], *, raw: bool, metadata: object) -> None:
        self.bundles.append(dict(obj))

    def update(self, obj: Mapping[str, Any], *, raw: bool, metadata: object) -> None:
        assert self.bundles, "updated before it was shown"
        self.bundles.append(dict(obj))


class Counter(Panel):
    name = "Counter"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.button = theme.button("Count", self.handler(self._add))
        self.fill(theme.row(self.button))

    def _add(self) -> None:
        self.count += 1
        if self.count == 3:
            raise LoraError(f"{XSS} is too much.")

    def record(self) -> str:
        return html_table([("count", self.count), (XSS, XSS)])

    def recipe(self) -> Recipe | None:
        if self.count == 2:
            raise LoraError("not now")
        return recipe_of("stop", None, {}, (f"run-{self.count}",))


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Output]:
    """The outputs of a cell, in a kernel."""
    made: list[Output] = []

    def new() -> Output:
        made.append(Output())
        return made[-1]

    monkeypatch.setattr(panel_module, "in_kernel", lambda: True)
    monkeypatch.setattr(panel_module, "new_handle", new)
    monkeypatch.setattr(
        saved.SavedRecord.__init__, "__kwdefaults__", {"handle": new, "interval": 0.2}
    )
    return made


def error_of(panel: Panel) -> str:
    value: str = panel._errors.value
    return value


def test_a_panel_shows_its_view_and_beside_it_a_record(outputs: list[Output]) -> None:
    counter = Counter()
    counter._ipython_display_()
    view, record = (output.bundles for output in outputs)
    assert view == [
        {
            "text/plain": "<lora_nb Counter>",
            "text/html": "",
            VIEW: {
                "version_major": 2,
                "version_minor": 0,
                "model_id": counter.widget.model_id,
            },
        }
    ]
    assert record[0]["text/plain"] == "<lora_nb Counter> record"
    assert set(record[0]) == {"text/plain", "text/html"}
    # All but the style, which hides it while the view lives.
    html = record[0]["text/html"].replace(theme.STYLE, "")
    assert theme.STYLE in record[0]["text/html"]
    page = read(html)
    assert page.faults == []
    assert page.text == f"count0{XSS}{XSS}"


def test_the_record_follows_but_not_at_every_click(outputs: list[Output]) -> None:
    counter = Counter()
    counter._ipython_display_()
    record = outputs[1].bundles
    for _ in range(2):
        counter.button.click()
    # Not in the handler itself, which must not be slow.
    assert len(record) == 1
    until(lambda: ">2</td>" in record[-1]["text/html"], "the record")
    assert len(record) == 2
    counter.button.click()
    until(lambda: ">3</td>" in record[-1]["text/html"], "the record")
    assert {bundle["text/plain"] for bundle in record} == {"<lora_nb Counter> record"}


def test_a_record_that_cannot_be_made_says_why(outputs: list[Output]) -> None:
    counter = Counter()
    counter._ipython_display_()

    def fail() -> str:
        raise LoraError(f"{XSS} is gone.")

    counter._saved._make = fail
    counter._saved.flush()
    page = read(outputs[1].bundles[-1]["text/html"].replace(theme.STYLE, ""))
    assert page.text == f"{XSS} is gone."
    assert page.faults == []


def test_what_has_not_changed_is_not_sent_again(outputs: list[Output]) -> None:
    counter = Counter()
    counter._ipython_display_()
    counter._saved.flush()
    assert len(outputs[1].bundles) == 1


def test_a_page_can_tell_whether_its_record_is_the_newest(outputs: list[Output]) -> None:
    counter, other = Counter(), Counter()
    assert counter._older.layout.display == "none"
    counter._ipython_display_()
    assert counter._older.layout.display == ""
    record = outputs[1].bundles

    def is_told_of(mark: str) -> bool:
        return f".lora-nb-record:not(.{mark})" in counter._older.value

    def mark_of(bundle: dict[str, Any]) -> str:
        classes: str = bundle["text/html"].partition('"')[2].partition('"')[0]
        return classes.split()[-1]

    first = mark_of(record[0])
    assert is_told_of(first)
    counter.button.click()
    until(lambda: not is_told_of(first), "another mark")
    assert is_told_of(mark_of(record[-1]))
    # The same words have the same mark, in another kernel too; each panel speaks for itself.
    other._ipython_display_()
    assert mark_of(outputs[3].bundles[0]) == first
    assert set(other.widget._dom_classes) & set(counter.widget._dom_classes) == {theme.LIVE}
    assert counter._mark in counter._older.value
    assert counter._mark in counter.widget._dom_classes


def test_a_panel_may_be_shown_twice(outputs: list[Output]) -> None:
    counter = Counter()
    counter._ipython_display_()
    counter._ipython_display_()
    counter.button.click()
    until(lambda: [len(each.bundles) for each in outputs] == [1, 2, 1, 2], "both records")


def test_outside_a_kernel_there_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    Counter()._ipython_display_()
    assert "<lora_nb Counter>" in capsys.readouterr().out
    assert repr(Counter()) == str(Counter()) == "<lora_nb Counter>"


def test_an_error_is_told_escaped_and_goes_with_the_next_click() -> None:
    counter = Counter()
    for _ in range(3):
        counter.button.click()
    page = read(error_of(counter))
    assert page.text == f"{XSS} is too much."
    assert page.faults == []
    counter.button.click()
    assert error_of(counter) == ""


def test_the_recipe_follows_and_is_hidden_while_there_is_none() -> None:
    counter = Counter()
    view = counter._recipe_view
    seen = []
    for _ in range(2):
        counter.button.click()
        seen.append((view.recipe, view.widget.layout.display))
    assert seen == [
        (Recipe("%lora_stop run-1", "", "lora-nb stop run-1"), ""),
        (None, "none"),
    ]


def test_slow_work_is_done_beside_and_its_faults_are_told() -> None:
    panel = Panel()
    panel.fill()
    threads: list[threading.Thread] = []
    results: list[int] = []

    def work() -> int:
        threads.append(threading.current_thread())
        return 7

    panel.later(work, results.append)
    panel.settle()
    assert results == [7]
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()

    def fail() -> None:
        raise OSError("the disk is full")

    panel.later(fail)
    panel.settle()
    assert read(error_of(panel)).text == "the disk is full"


def test_waiting_for_slow_work_has_an_end() -> None:
    panel = Panel()
    held = threading.Event()
    panel.later(held.wait)
    with pytest.raises(LoraError, match=r"Panel is still at work after 0\.05 seconds\."):
        panel.settle(0.05)
    held.set()
    panel.settle()


def test_a_fold_is_made_when_it_is_opened() -> None:
    made: list[str] = []

    def make() -> theme.Widget:
        made.append("made")
        return theme.html("inside")

    fold = theme.Fold("More", make)
    assert made == []
    fold.open()
    fold.head.value = False
    fold.open()
    assert made == ["made"]
    assert fold.widget.children[1].children[0].value == "inside"
    assert fold.widget.children[1].layout.display == ""


VALUES: list[dict[str, Any]] = [
    {"model": "demo", "data": "my data", "lora_parameters": {"rank": 4, "keys": ["a.b", "c"]}},
    {"mask_prompt": True, "iters": 5, "learning_rate": 1e-6, "num_layers": -1},
    {"model": "a{b}c", "data": "what?", "lora_parameters": {"alpha": 16.0}},
    {"lr_schedule": {"name": "cosine_decay", "arguments": [1e-4, 10.0]}, "batch_size": 2},
    {"optimizer": "adamw", "optimizer_config": {"adamw": {"weight_decay": 0.1}}},
    {"data": "it's $HOME", "chat_template": "~/my template.jinja"},
    {"adapter_path": "-odd", "prompt_feature": "a\nb"},
    {"trust_sha256": [f"a.py:{'0' * 64}"], "train_on": "assistant", "packing": True},
]


def as_typed(command: str, folder: Path) -> tuple[list[str], str]:
    """The words behind `lora-nb` and the text on its stdin, as a shell makes them of a command."""
    program = folder / "lora-nb"
    program.write_text(
        f"#!{sys.executable} -S\nimport json, sys\n"
        "text = sys.stdin.read() if '/dev/stdin' in sys.argv else ''\n"
        "print(json.dumps([sys.argv[1:], text]))\n"
    )
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, env={"PATH": str(folder)}
    )
    assert done.stderr == ""
    words, text = json.loads(done.stdout)
    return words, text


@pytest.mark.parametrize("values", VALUES)
def test_all_three_ways_of_a_recipe_mean_the_same(values: dict[str, Any], tmp_path: Path) -> None:
    wanted = load(TrainConfig, flags=values)
    recipe = recipe_of("train", TrainConfig, values)
    command = COMMANDS["train"]
    head, _, cell = recipe.magic.partition("\n")
    assert head.startswith("%%lora_train" if cell else "%lora_train")
    assert not set("{}$?") & set(head)
    line = head.lstrip("%").removeprefix("lora_train").strip()
    parsed = parse_flags(words_of(line, command), command.flags)
    assert load(TrainConfig, cell=cell, flags=parsed.values) == wanted
    assert load(TrainConfig, cell=recipe.yaml) == wanted
    words, read_in = as_typed(recipe.console, tmp_path)
    assert words[0] == "train"
    parsed = parse_flags(words[1:], command.flags)
    assert parsed.config_file == (Path("/dev/stdin") if read_in else None)
    assert load(TrainConfig, cell=read_in, flags=parsed.values) == wanted


def test_a_terminal_needs_no_file_to_be_written_first() -> None:
    said = recipe_of("train", TrainConfig, {"data": "it's a {b} $c", "prompt_feature": "a\nb"})
    assert said.console == """lora-nb train --data 'it'"'"'s a {b} $c' --prompt-feature 'a\nb'"""
    assert said.magic.startswith("%%lora_train\n")
    unsaid = {"contenders": ["base", "a b"], "rows": 3}
    recipe = recipe_of("compare", CompareConfig, unsaid)
    assert recipe.console == (
        "lora-nb compare -c /dev/stdin --rows 3 <<'YAML'\ncontenders:\n- base\n- a b\nYAML"
    )


def test_an_option_without_a_flag_is_written_in_the_cell() -> None:
    recipe = recipe_of("compare", CompareConfig, {"contenders": ["base", "a b"], "rows": 3})
    assert recipe.magic == "%%lora_compare --rows 3\ncontenders:\n- base\n- a b"


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "lora_nb":
                found |= {f"lora_nb.{alias.name}" for alias in node.names}
    return found


def test_panels_know_the_api_and_what_is_below_it() -> None:
    files = sorted(WIDGETS.glob("*.py"))
    assert len(files) > 5
    for path in files:
        for name in imports_of(path):
            first, _, rest = name.partition(".")
            assert first not in ("mlx", "mlx_lm", "transformers"), path
            if first == "lora_nb" and rest:
                assert rest.split(".")[0] in ALLOWED, f"{path.name} imports {name}"


def test_the_package_is_found_and_not_loaded_by_the_other() -> None:
    code = "import sys, lora_nb, lora_nb.api; print('lora_nb_widgets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
    import lora_nb_widgets

    for name in lora_nb_widgets.__all__:
        assert getattr(lora_nb_widgets, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = lora_nb_widgets.nothing
