"""Fusing an adapter into its model, with the check, the exports and what an upload would send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_nb import api
from lora_nb.config import FuseConfig, UploadConfig, load
from lora_nb.display.record import mimebundle
from lora_nb.display.tables import html_table
from lora_nb.errors import LoraError
from lora_nb.runs import control, store
from lora_nb.runs.adapters import is_adapter
from lora_nb.runs.folder import RunConfig, RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.config_form import ConfigForm
from lora_nb_widgets.config_form_fields import fields_of
from lora_nb_widgets.fuse_panel_results import results_html
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.recipe import Recipe, recipe_of
from lora_nb_widgets.training_monitor_follow import LIVE
from lora_nb_widgets.training_monitor_view import RunView

__all__ = ["FusePanel"]

_HUB = "Hub"
_SENT = ("upload_repo", "public", "update_repo")
_BUSY = "{} is under way. Press Stop, or wait for its end."


class FusePanel(Panel):
    """Options, progress and check of a fusing; its exports; and an upload that is looked at first.

    `adapter_path` is a folder, a run or `latest`; `model` the base model, the adapter's own if not
    given.
    """

    name = "FusePanel"

    def __init__(
        self, model: str | Path | None = None, adapter_path: str | Path | None = None
    ) -> None:
        super().__init__()
        self.run: RunFolder | None = None
        self._final = ""
        self._asked: RunConfig | None = None
        self._previewed: RunConfig | None = None
        self.form = ConfigForm(FuseConfig, _given(model, adapter_path), without=(_HUB,))
        self.upload_fields = {
            path[0]: field
            for path, field in fields_of(UploadConfig, self.handler(self._edited)).items()
            if path[0] in _SENT
        }
        self.view = RunView(self.widget)
        self.results = theme.html()
        self._buttons()
        self.upload_fold = theme.Fold(
            "Upload to the Hugging Face Hub",
            self._upload_area,
            hint="See which files would go where, then send them",
        )
        self.form.on_change(self._edited)
        self.fill(
            self.form.widget,
            theme.row(self.fuse_button, self.stop_button),
            self._errors,
            self.view.widget,
            self.results,
            self.upload_fold.widget,
        )
        theme.shown(self.view.widget, False)
        self._edited()

    def _buttons(self) -> None:
        self.fuse_button = theme.button(
            "Fuse", self.handler(self.fuse), hint="Start the fusing, and its check", main=True
        )
        self.stop_button = theme.button("Stop", self.handler(self._stop), hint="End what goes on")
        self.stop_button.disabled = True
        self.preview_button = theme.button(
            "Preview upload",
            self.handler(self.preview),
            hint="List the files that would go, check them for secrets, and send nothing",
        )
        self.upload_button = theme.button(
            "Upload", self.handler(self.upload), hint="Send what the preview has listed"
        )
        self.upload_button.disabled = True

    def _upload_area(self) -> theme.Widget:
        note = theme.html(
            theme.note("Sends the folder of save_path. Upload waits for a preview.", "quiet")
        )
        return theme.column(
            note,
            theme.row(*(field.widget for field in self.upload_fields.values())),
            theme.row(self.preview_button, self.upload_button),
        )

    # What others do with it

    def use(self, model: str | Path, adapter_path: str | Path | None) -> None:
        """Go on with another model and adapter; the other options stay as they are filled in."""
        self.form.give(_given(model, adapter_path))

    # What its buttons do

    def fuse(self) -> None:
        """Start the fusing that the form describes. Raises LoraError if that can't be done."""
        self._start(self.form.config)

    def preview(self) -> None:
        """Let a run list and check what would be uploaded. Raises LoraError without a name."""
        self._start(self._upload_config(dry_run=True))

    def upload(self) -> None:
        """Upload what was previewed. Raises LoraError if something has changed since."""
        wanted = self._upload_config(dry_run=True)
        if self._previewed != wanted:
            raise LoraError("Press Preview upload first: it lists what would go, and where.")
        self._start(self._upload_config(dry_run=False))

    def close(self) -> None:
        """Follow no run any more, and take the panel off the page. The run goes on."""
        self.view.close()
        self.widget.close()

    def _start(self, config: RunConfig) -> None:
        if self.run is not None and not self.view.is_over(self.run):
            raise LoraError(_BUSY.format(self.run.name))
        self.run = api.launched(config).folder
        self._final = ""
        self._asked, self._previewed = config, None
        self.results.value = ""
        theme.shown(self.view.widget, True)
        self._enable(lives=True)
        follower = self.view.follower(self.run, self._looked)
        self.later(follower.follow)

    def _stop(self) -> None:
        if self.run is None:
            raise LoraError("Nothing is under way.")
        control.send(self.run, "stop")

    def _looked(self) -> None:
        look, run = self.view.look, self.run
        if look is None or run is None:
            return
        self.results.value = results_html(look.state, run)
        if look.status == "completed" and look.state.listed and look.state.listed.dry_run:
            self._previewed = self._asked
        self._enable(lives=look.status in LIVE)

    def _enable(self, *, lives: bool) -> None:
        self.fuse_button.disabled = self.preview_button.disabled = lives
        self.stop_button.disabled = not lives
        self._allow_upload(lives=lives)

    def _allow_upload(self, *, lives: bool) -> None:
        try:
            same = self._previewed == self._upload_config(dry_run=True)
        except LoraError:
            same = False
        self.upload_button.disabled = lives or self._previewed is None or not same

    # What is filled in

    def _edited(self) -> None:
        config = self.form.checked
        self.fuse_button.disabled = config is None or not self.stop_button.disabled
        self._allow_upload(lives=not self.stop_button.disabled)

    def _upload_config(self, *, dry_run: bool) -> UploadConfig:
        given = {key: field.given() for key, field in self.upload_fields.items()}
        values = {key: value for key, value in given.items() if value is not None}
        if "upload_repo" not in values:
            raise LoraError("upload_repo: give the name of a repository, e.g. you/my-model.")
        config = self.form.config
        hub_name = {"hf_path": config.hf_path} if config.hf_path else {}
        return load(
            UploadConfig,
            flags={**values, **hub_name, "path": config.save_path, "dry_run": dry_run},
        )

    # What stays

    def record(self) -> str:
        """The options, and the run with what came of it."""
        if self.run is None:
            return self.form.record()
        if not self._final and self.view.is_over(self.run):
            self._final = mimebundle(self.run)["text/html"]
        return self.form.record() + (self._final or html_table([("run", self.run.name)]))

    def recipe(self) -> Recipe | None:
        """The upload as code, once it has a name; the fusing stands below its options."""
        if self.upload_fields["upload_repo"].given() is None:
            return None
        config = self._upload_config(dry_run=False)
        values: dict[str, Any] = {
            key: getattr(config, key) for key in (*_SENT, "hf_path") if getattr(config, key)
        }
        return recipe_of("upload", UploadConfig, {"path": config.path, **values})


def _given(model: str | Path | None, adapter_path: str | Path | None) -> dict[str, str]:
    """The options that are given at the start; without an adapter that of the newest run."""
    given = {} if model is None else {"model": str(model)}
    if adapter_path is not None:
        return {**given, "adapter_path": str(adapter_path)}
    trained = (run for run in store.all_runs() if run.checkpoints_path.is_dir())
    if not is_adapter(Path("adapters")) and next(trained, None):
        return {**given, "adapter_path": "latest"}
    return given
