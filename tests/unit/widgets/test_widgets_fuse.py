"""The fuse panel: a fusing and its check, an upload that is looked at first, and refusals."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lora_nb import api
from lora_nb.config import ConvertConfig, FuseConfig, UploadConfig
from lora_nb.display.state import state_of
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Event, Started
from lora_nb.runs.export_events import Fidelity, GgufSaved, ModelSaved, Uploaded
from lora_nb.runs.export_events import UploadListed as Listed
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb_widgets.fuse_panel import FusePanel
from lora_nb_widgets.fuse_panel_results import results_html
from lora_nb_widgets.playground import Playground
from tests.html_check import Page, read
from tests.unit.display.made import numbered
from tests.unit.display.test_display_xss import XSS
from tests.unit.runs.kit import ended, made

REPO = "somebody/my-model"


def filled(panel: FusePanel, **texts: str) -> None:
    """Fill in inputs of the upload."""
    for key, text in texts.items():
        panel.upload_fields[key].input.value = text


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, runs_root: Path) -> list[Any]:
    """The configs of runs that would be started, which are over at once."""
    configs: list[Any] = []

    def start(config: Any) -> api.Run:
        configs.append(config)
        run = launch.create(config, runs_root)
        verb = "upload" if isinstance(config, UploadConfig) else "fuse"
        with EventLog(run.events_path) as log:
            log.write(Started(verb=verb, pid=1, backend="CPU", blas="none"))
            if isinstance(config, UploadConfig):
                log.write(listed(config))
            log.write(ended("completed", "Done."))
        return api.Run(run)

    monkeypatch.setattr(api, "launched", start)
    return configs


def listed(config: UploadConfig) -> Listed:
    return Listed(
        repo=str(config.upload_repo),
        private=not config.public,
        files={"model.safetensors": 12_400_000, "config.json": 900},
        left_out=["secret.txt"],
        dry_run=config.dry_run,
    )


def test_a_fusing_is_started_followed_and_checked(finished: Path, tmp_path: Path) -> None:
    panel = FusePanel(adapter_path=str(finished))
    target = tmp_path / "fused"
    peft = tmp_path / "peft"
    panel.form.give({"save_path": str(target), "check_rows": 4, "export_peft": str(peft)})
    assert panel.view.widget.layout.display == "none"
    panel.fuse_button.click()
    assert panel._errors.value == ""
    assert panel.fuse_button.disabled
    assert not panel.stop_button.disabled
    panel.fuse_button.click()
    assert panel.run is not None
    assert f"{panel.run.name} is under way." in panel._errors.value
    panel.settle(60)

    assert panel.view.status == "completed", panel.view.line.value
    assert (target / "model.safetensors").is_file()
    assert (peft / "adapter_model.safetensors").is_file()
    page = read(panel.results.value)
    assert page.faults == []
    for words in ("base and adapter", "same token", "Compared on 4 ", str(peft), "bits per weight"):
        assert words in page.text
    assert not panel.fuse_button.disabled
    assert panel.stop_button.disabled
    record = read(panel.record())
    assert record.faults == []
    assert "base and adapter" in record.text

    # The real worker lists what would go, and sends nothing.
    filled(panel, upload_repo=REPO)
    panel.upload_fold.open()
    panel.preview_button.click()
    panel.settle(60)
    assert panel.view.status == "completed", panel.view.line.value
    text = read(panel.results.value).text
    assert f"would go to {REPO} (private)" in text
    assert "model.safetensors" in text
    assert not panel.upload_button.disabled
    assert not [t for t in threading.enumerate() if t.name == "lora_nb FusePanel"]


def test_a_failed_fusing_says_why(finished: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "config.json").write_text("{}")
    panel = FusePanel(adapter_path=str(finished))
    panel.form.give({"save_path": str(there)})
    panel.fuse_button.click()
    panel.settle(60)
    assert panel.view.status == "failed"
    assert "save_path" in read(panel.view.line.value).text
    assert not panel.fuse_button.disabled


def test_nothing_is_uploaded_that_was_not_previewed(launched: list[Any]) -> None:
    panel = FusePanel("demo", "adapters")
    panel.preview_button.click()
    assert "upload_repo: give the name of a repository" in panel._errors.value
    filled(panel, upload_repo=REPO)
    panel.upload_button.click()
    assert "Press Preview upload first" in panel._errors.value
    assert panel.upload_button.disabled
    assert launched == []

    panel.preview_button.click()
    panel.settle()
    assert launched == [UploadConfig(path="lora_fused_model", upload_repo=REPO, dry_run=True)]
    assert not panel.upload_button.disabled
    text = read(panel.results.value).text
    assert f"2 files, 12.4 MB, would go to {REPO} (private)" in text
    assert "not sent: secret.txt" in text

    # Changed since, it must be looked at again.
    panel.upload_fields["public"].input.value = True
    assert panel.upload_button.disabled
    panel.upload_button.click()
    assert "Press Preview upload first" in panel._errors.value
    panel.preview_button.click()
    panel.settle()
    assert f"to {REPO} (public)" in read(panel.results.value).text
    panel.upload_button.click()
    panel.settle()
    assert launched[-1] == UploadConfig(path="lora_fused_model", upload_repo=REPO, public=True)
    assert len(launched) == 3
    # Once sent, the next one is previewed again.
    assert panel.upload_button.disabled


def test_the_form_has_the_options_of_fusing_and_none_of_the_upload(launched: list[Any]) -> None:
    panel = FusePanel("demo", "somewhere")
    assert ("gguf_type",) in panel.form.fields
    assert ("upload_repo",) not in panel.form.fields
    panel.form.give({"export_gguf": True, "gguf_type": "q8_0"})
    panel.fuse_button.click()
    panel.settle()
    assert launched == [
        FuseConfig(model="demo", adapter_path="somewhere", export_gguf=True, gguf_type="q8_0")
    ]
    panel.form.give({"check_rows": "many"})
    assert panel.fuse_button.disabled
    panel.fuse_button.click()
    assert "check-rows: &#x27;many&#x27; is not a whole number." in panel._errors.value
    assert len(launched) == 1


def test_what_is_wrong_is_told_beside_the_button() -> None:
    for panel in (FusePanel(), Playground()):
        parts = list(panel.widget.children)
        place = parts.index(panel._errors)
        assert parts.count(panel._errors) == 1
        names = [button.description for button in parts[place - 1].children]
        assert names[0] in ("Fuse", "Send")


def test_the_recipes(launched: list[Any]) -> None:
    panel = FusePanel("demo", "adapters")
    assert panel.recipe() is None
    fusing = panel.form.recipe()
    assert fusing is not None
    assert fusing.magic == "%lora_fuse --model demo"
    filled(panel, upload_repo=REPO)
    uploading = panel.recipe()
    assert uploading is not None
    assert uploading.magic == f"%lora_upload --path lora_fused_model --upload-repo {REPO}"


def test_without_an_adapter_it_takes_that_of_the_newest_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert FusePanel().form.config.adapter_path == "adapters"
    monkeypatch.setenv("LORA_NB_RUNS", str(finished.parent))
    assert FusePanel().form.config.adapter_path == "latest"


def test_an_adapter_that_is_not_there_is_an_error_of_the_click(tmp_path: Path) -> None:
    panel = FusePanel(adapter_path=str(tmp_path / "<b>gone"))
    panel.fuse_button.click()
    assert "&lt;b&gt;gone does not exist." in panel._errors.value
    assert panel.run is None
    panel.stop_button.click()
    assert "Nothing is under way." in panel._errors.value


def test_stop_and_close(model: Path, data: Path, runs_root: Path, finished: Path) -> None:
    panel = FusePanel(adapter_path=str(finished))
    target = runs_root / "fused"
    panel.form.give({"save_path": str(target)})
    panel.fuse_button.click()
    panel.stop_button.click()
    panel.settle(60)
    assert panel.run is not None
    assert panel.run.status in ("stopped", "completed")
    assert attach.wait(panel.run, 60)
    panel.stop_button.click()
    assert "there is no worker to stop." in panel._errors.value

    panel.form.give({"save_path": str(runs_root / "again"), "check_rows": 0})
    panel.fuse_button.click()
    run = panel.run
    panel.close()
    panel.settle(10)
    assert attach.wait(run, 60)
    assert run.status == "completed"


def page_of(text: str, run: RunFolder) -> Page:
    check = {
        f"{name}_{key}": 1.0
        for name in ("base", "adapter", "fused")
        for key in ("loss", "agreement", "max_difference", "mean_difference")
        if (name, key) in _MEASURED
    }
    events: list[Event] = [
        ModelSaved(path=text, bits=4.5, size=9, dtype=text),
        GgufSaved(path=text, kind=text, size=9, checks=text, commands=text),
        Fidelity(rows=1, source=text, tokens=3, advice=text, seconds=1.0, **check),
        Listed(repo=text, private=True, files={text: 1}, left_out=[text], dry_run=True),
        Uploaded(repo=text, url=text, private=True, commit=text, files=1, size=1),
    ]
    return read(results_html(state_of(numbered(events)), run))


_MEASURED = {
    *((name, "loss") for name in ("base", "adapter", "fused")),
    *(
        (name, key)
        for name in ("base", "fused")
        for key in ("agreement", "max_difference", "mean_difference")
    ),
}


@pytest.mark.parametrize("text", XSS)
def test_hostile_texts_stay_texts(text: str, runs_root: Path) -> None:
    run = made(runs_root)
    page = page_of(text, run)
    assert page.faults == []
    lines = len(text.splitlines())
    assert page.tags == page_of("\n".join(["harmless"] * lines), run).tags


def test_a_run_of_another_verb_has_no_exports(runs_root: Path) -> None:
    run = launch.create(ConvertConfig(model="m"), runs_root)
    assert "PEFT" not in page_of("x", run).text
    fusing = launch.create(FuseConfig(model="m", export_peft="<i>peft"), runs_root)
    assert "<i>peft" in page_of("x", fusing).text
