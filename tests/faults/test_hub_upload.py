"""Uploads that are cut off, refused or wrong: nothing half-done, no secret out, clear messages."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

import lora_nb
from lora_nb.config import ConvertConfig, FuseConfig, UploadConfig, load
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, launch
from lora_nb.runs.events import Notice, Started
from lora_nb.runs.export_events import ModelSaved, UploadListed
from lora_nb.runs.folder import RunFolder
from tests.hub_uploads import READER, WRITER, Repository, UploadHub, upload_hub
from tests.tiny import until

SECRET = "hf_" + "Sec7" * 8
SHARDS = 3


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with upload_hub() as found:
        log_in(found, tmp_path, monkeypatch)
        yield found


def log_in(
    hub: UploadHub, tmp_path: Path, patch: pytest.MonkeyPatch, token: str | None = WRITER
) -> None:
    for name, value in hub.environment(tmp_path / "home", token).items():
        patch.setenv(name, value)


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model in three files of weights."""
    copy = tmp_path / "mine"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = {key: weights[key] for key in sorted(weights)[number::SHARDS]}
        save_file(part, copy / name, metadata={"format": "mlx"})
        names |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": names}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    return copy


def begun(folder: Path, **options: Any) -> RunFolder:
    flags = {"path": str(folder), "upload_repo": "tiny", **options}
    return launch.start(load(UploadConfig, flags=flags))


def ended(run: RunFolder, status: str) -> str:
    assert attach.wait(run, 120), run.log_tail()
    assert run.status == status, run.log_tail()
    assert "Traceback" not in run.log_tail(200)
    return run.ended.message if run.ended else ""


def refused(folder: Path, **options: Any) -> str:
    return ended(begun(folder, **options), "failed")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def shards(folder: Path) -> list[bytes]:
    return [body for name, body in contents(folder).items() if name.endswith(".safetensors")]


def is_whole(hub: UploadHub, folder: Path, repo: str = "me/tiny") -> bool:
    files = hub.repositories[repo].files
    return all(files.get(name) == content for name, content in contents(folder).items())


# Cut off


@pytest.mark.parametrize("place", range(SHARDS))
def test_a_killed_upload_goes_on(hub: UploadHub, folder: Path, place: int) -> None:
    """Killed while one of the files is on its way; those before it are not sent again."""
    here, on = threading.Event(), threading.Event()

    def arriving(_oid: str) -> None:
        if len(hub.sent) == place:
            here.set()
            on.wait(60)
            raise ConnectionAbortedError

    hub.arriving = arriving
    before = contents(folder)
    run = begun(folder)
    assert here.wait(60), run.log_tail()
    started = next(r.event for r in run.records() if isinstance(r.event, Started))
    os.killpg(started.pid, signal.SIGKILL)
    assert attach.wait(run, 60)
    assert run.status == "crashed"
    on.set()
    hub.arriving = lambda oid: None
    assert hub.repositories["me/tiny"].commits == []
    assert list(hub.repositories["me/tiny"].files) == [".gitattributes"]
    ended(begun(folder), "completed")
    assert is_whole(hub, folder)
    assert hub.repositories["me/tiny"].private
    assert len(hub.repositories["me/tiny"].commits) == 1
    sums = [hashlib.sha256(content).hexdigest() for content in shards(folder)]
    puts = [hub.asked.count(f"PUT /lfs/{each}") for each in sums]
    assert puts == [2 if number == place else 1 for number in range(SHARDS)]
    assert contents(folder) == before


def test_a_stopped_upload_goes_on(hub: UploadHub, folder: Path) -> None:
    runs: list[RunFolder] = []

    def arriving(_oid: str) -> None:
        control.send(until(lambda: runs, "the run")[0], "stop")

    hub.arriving = arriving
    runs.append(begun(folder))
    assert "the same upload goes on where it was" in ended(runs[0], "stopped")
    assert len(hub.sent) == 1
    hub.arriving = lambda oid: None
    ended(begun(folder), "completed")
    assert len(hub.sent) == SHARDS
    assert is_whole(hub, folder)


def test_what_is_there_already_is_not_sent_again(hub: UploadHub, folder: Path) -> None:
    ended(begun(folder), "completed")
    ended(begun(folder), "completed")
    assert len(hub.sent) == SHARDS
    assert len(hub.repositories["me/tiny"].commits) == 1


# Faults of the Hub


def fails(part: str, status: int, times: int) -> Callable[[str], int | None]:
    """Let the first requests whose line has `part` in it fail."""
    left = [times]

    def fault(asked: str) -> int | None:
        if part not in asked or not left[0]:
            return None
        left[0] -= 1
        return status

    return fault


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ("whoami", 503),
        ("repos/create", 500),
        ("GET /api/models", 502),
        ("preupload", 503),
        ("batch", 503),
        ("PUT /lfs", 503),
        ("/commit/", 504),
        ("paths-info", 503),
        ("whoami", 429),
    ],
)
def test_faults_that_pass(hub: UploadHub, folder: Path, part: str, status: int) -> None:
    hub.faults = fails(part, status, 1)
    ended(begun(folder), "completed")
    assert is_whole(hub, folder)
    assert hub.repositories["me/tiny"].private


@pytest.mark.parametrize("part", ["whoami", "repos/create"])
def test_faults_that_stay(hub: UploadHub, folder: Path, part: str) -> None:
    hub.faults = fails(part, 503, 1000)
    told = refused(folder)
    assert "the Hub has failed several times (status 503). Try again later." in told
    assert len([asked for asked in hub.asked if part in asked]) == 4
    assert hub.repositories == {}


def test_without_a_network(hub: UploadHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "no connection to the Hugging Face Hub. Connect, and try again." in refused(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set, so nothing can be uploaded" in refused(folder)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (None, "there is no token for the Hugging Face Hub. Log in with `hf auth login`, or set"),
        ("hf_" + "Wr0ng" * 7, "the Hub does not accept the token (401). Log in with `hf auth"),
        (READER, "the token of me may only read. Log in with `hf auth login`, or set HF_TOKEN"),
    ],
)
def test_tokens_that_may_not(
    token: str | None,
    told: str,
    hub: UploadHub,
    folder: Path,
    tmp_path: Path,
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_in(hub, tmp_path, monkeypatch, token)
    assert told in refused(folder)
    assert hub.repositories == {}
    assert len(contents(folder)) == 7
    if token:
        files = [path for path in runs_root.rglob("*") if path.is_file()]
        assert all(token.encode() not in path.read_bytes() for path in files)


def test_a_fusing_without_a_token_begins_nothing(
    hub: UploadHub, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(hub, tmp_path, monkeypatch, None)
    options = {"model": str(model), "mlx_path": str(tmp_path / "out"), "upload_repo": "tiny"}
    run = launch.start(load(ConvertConfig, flags=options))
    assert "there is no token" in ended(run, "failed")
    assert not (tmp_path / "out").exists()


def test_a_model_that_could_not_be_sent_is_kept(
    hub: UploadHub, model: Path, tmp_path: Path
) -> None:
    hub.faults = fails("PUT /lfs", 403, 1000)
    target = tmp_path / "out"
    options = {"model": str(model), "mlx_path": str(target), "upload_repo": "tiny"}
    run = launch.start(load(ConvertConfig, flags=options))
    told = ended(run, "failed")
    assert "model.safetensors can't be sent to me/tiny: the token may not write there" in told
    assert f"The model is whole, in {target}." in told
    assert f"%lora_upload {target} --upload-repo tiny" in told
    assert any(isinstance(record.event, ModelSaved) for record in run.records())
    assert (target / "model.safetensors").is_file()
    hub.faults = lambda asked: None
    ended(begun(target), "completed")
    assert is_whole(hub, target)


# Repositories


def test_repositories_of_others(hub: UploadHub, folder: Path) -> None:
    told = refused(folder, upload_repo="them/tiny")
    assert "them is neither you (me) nor an organisation that you belong to" in told
    hub.faults = fails("repos/create", 403, 1000)
    told = refused(folder, upload_repo="us/tiny")
    assert "us/tiny can't be made: the token may not write there (403)" in told
    assert hub.repositories == {}


def test_a_public_repository_needs_consent(hub: UploadHub, folder: Path) -> None:
    hub.repositories["me/tiny"] = Repository(private=False)
    assert "is there already and everybody can see it" in refused(folder)
    assert hub.sent == []
    ended(begun(folder, public=True), "completed")
    assert is_whole(hub, folder)


def test_a_private_repository_stays_private(hub: UploadHub, folder: Path) -> None:
    hub.repositories["me/tiny"] = Repository(private=True)
    run = begun(folder, public=True)
    ended(run, "completed")
    assert hub.repositories["me/tiny"].private
    told = [r.event.message for r in run.records() if isinstance(r.event, Notice)]
    assert any("is private, and stays so" in message for message in told)


def test_other_files_are_replaced_only_if_asked(hub: UploadHub, folder: Path) -> None:
    kept = {"notes.txt": b"mine", "LICENSE": b"MIT", "tiny-q4.gguf": b"g", "old/config.json": b"{}"}
    there = {"model-00001-of-00002.safetensors": b"old", "config.json": b"{}", **kept}
    hub.repositories["me/tiny"] = Repository(private=True, files=dict(there))
    assert "is there already, with other files" in refused(folder)
    assert hub.repositories["me/tiny"].files == there
    assert hub.sent == []
    ended(begun(folder, update_repo=True), "completed")
    assert is_whole(hub, folder)
    files = hub.repositories["me/tiny"].files
    # Stale weights would be loaded with the new ones; what is no model's stays.
    assert "model-00001-of-00002.safetensors" not in files
    assert {name: files[name] for name in kept} == kept


def test_a_repository_that_was_not_made_private_gets_nothing(hub: UploadHub, folder: Path) -> None:
    class Open(dict[str, Repository]):
        def __setitem__(self, name: str, made: Repository) -> None:
            super().__setitem__(name, Repository(private=False))

    hub.repositories = Open()
    assert "does not say that it is private. Nothing was sent." in refused(folder)
    assert hub.sent == []


@pytest.mark.parametrize(
    "name", ["a/b/c", "/x", "x/", "me/-x", "me/x..y", "me/x.git", "ä", " ", "x" * 97]
)
@pytest.mark.parametrize("option", ["upload_repo", "hf_path"])
def test_names_that_no_repository_has(name: str, option: str) -> None:
    flags = {"path": "x", "upload_repo": "fine", option: name}
    with pytest.raises(LoraError, match=r"is no name of a repository on the Hub\. Give OWNER/NAME"):
        load(UploadConfig, flags=flags)


# Files


@pytest.mark.parametrize(
    ("name", "text", "line", "kind"),
    [
        ("README.md", f"---\nlicense: mit\n---\nuse {SECRET}\n", 4, "Hugging Face token"),
        ("generation_config.json", f'{{"a": 1,\n\n"b": "{SECRET}"}}', 3, "Hugging Face token"),
        ("chat_template.jinja", "x\n{# AKIAIOSFODNN7EXAMPLE #}", 2, "AWS key"),
        ("merges.txt", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", 1, "private key"),
        ("vocab.json", '{"x": "-----BEGIN OPENSSH PRIVATE KEY-----"}', 1, "private key"),
        ("LICENSE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY", 1, "value of aws"),
        ("Modelfile", "FROM https://me:pa55word@host/x", 1, "password in an address"),
        ("special_tokens_map.json", f'{{"x": "{WRITER}"}}', 1, "Hugging Face token"),
        ("vocab.txt", "a plain word behind a variable", 1, "secret of this machine"),
    ],
)
def test_secrets_stay_here(
    name: str,
    text: str,
    line: int,
    kind: str,
    hub: UploadHub,
    folder: Path,
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "plain word behind")
    (folder / name).write_text(text)
    run = begun(folder)
    told = ended(run, "failed")
    assert "Nothing was sent, since there are what looks like secrets" in told
    assert f"{folder / name}, line {line}: {kind}" in told
    assert hub.asked == []
    for secret in (
        SECRET,
        WRITER,
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI",
        "pa55word",
        "plain word",
    ):
        assert secret not in told
        files = [path for path in runs_root.rglob("*") if path.is_file()]
        assert all(secret.encode() not in path.read_bytes() for path in files)


def test_a_secret_in_the_description_of_weights(hub: UploadHub, folder: Path) -> None:
    file = folder / "model-00002-of-00003.safetensors"
    save_file(load_file(file), file, metadata={"note": SECRET})
    assert f"{file}, line 1: Hugging Face token." in refused(folder)
    assert hub.asked == []


def test_a_token_that_has_no_looks_is_known(hub: UploadHub, folder: Path) -> None:
    """One that was kept by logging in, as nothing in the environment tells of it."""
    home = Path(os.environ["HF_HOME"])
    home.mkdir()
    (home / "token").write_text("quite-plain-token-of-mine")
    os.environ["HF_TOKEN"] = ""
    (folder / "README.md").write_text("say quite-plain-token-of-mine")
    told = refused(folder)
    assert f"{folder / 'README.md'}, line 1: secret of this machine." in told
    assert "quite-plain-token-of-mine" not in told


def test_only_files_of_a_model_go(hub: UploadHub, folder: Path) -> None:
    strays = {".env", "train.jsonl", "modeling_own.py", "stale.safetensors", "runs"}
    for name in strays - {"runs"}:
        (folder / name).write_text(f"token: {SECRET}")
    (folder / "model-00004-of-00004.safetensors").write_text("of another model")
    (folder / "runs").mkdir()
    (folder / "runs" / "config.json").write_text(SECRET)
    run = begun(folder)
    ended(run, "completed")
    listed = next(r.event for r in run.records() if isinstance(r.event, UploadListed))
    strays = strays - {"runs"} | {"runs/", "model-00004-of-00004.safetensors"}
    assert set(listed.left_out) == strays
    assert not strays & set(hub.repositories["me/tiny"].files)
    assert all(SECRET.encode() not in body for body in (*hub.bodies, *hub.store.values()))


def cut(folder: Path) -> None:
    file = folder / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def test_a_secret_in_a_name(hub: UploadHub, folder: Path, runs_root: Path) -> None:
    (folder / f"{SECRET}.gguf").write_bytes(b"GGUF")
    assert "a file's name in" in refused(folder)
    assert hub.asked == []
    assert all(SECRET not in p.read_text() for p in runs_root.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (cut, "model-00002-of-00003.safetensors is damaged (cut short?)"),
        (lambda f: (f / "model-00003-of-00003.safetensors").unlink(), "lacks weights: model-00003"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is damaged: it is no JSON."),
        (lambda f: (f / "config.json").unlink(), "holds neither a model nor an adapter"),
        (
            lambda f: (f / "README.md").write_text("---\na: [\n---\n"),
            "README.md, line 3: what the Hub",
        ),
        (
            lambda f: (f / "README.md").write_text("---\n- a\n---\n"),
            "between the dashes is no mapping",
        ),
    ],
)
def test_broken_folders_stay_here(
    harm: Callable[[Path], object], told: str, hub: UploadHub, folder: Path
) -> None:
    harm(folder)
    assert told in refused(folder)
    assert hub.asked == []


def test_paths_of_this_machine_are_told(hub: UploadHub, folder: Path) -> None:
    (folder / "generation_config.json").write_text('{\n"_from": "/home/ann/models/x"}')
    (folder / "LICENSE").write_text(f"see\n\n{Path.home()}/licences")
    run = begun(folder)
    ended(run, "completed")
    told = [r.event.message for r in run.records() if isinstance(r.event, Notice)]
    for where in ("generation_config.json, line 2", "LICENSE, line 3"):
        assert any(f"{where}: holds a path of this machine" in text for text in told)


def test_a_dry_run_asks_nobody(
    hub: UploadHub,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_in(hub, tmp_path, monkeypatch, None)
    run = lora_nb.upload(folder, "me/tiny", dry_run=True)
    assert hub.asked == []
    said = capsys.readouterr().out
    assert "8 files, 706 kB, would go to me/tiny (private):" in said
    assert "model-00002-of-00003.safetensors" in said
    assert "nothing was sent (dry run)" in said
    assert "config.json" in run.summary()


def test_a_fused_run_may_be_named(
    hub: UploadHub,
    finished: Path,
    home: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "fused"
    options = {
        "model": str(model),
        "adapter_path": str(home / "adapters"),
        "save_path": str(target),
    }
    launched = launch.start(load(FuseConfig, flags={**options, "check_rows": 0, "name": "both"}))
    ended(launched, "completed")
    lora_nb.upload("both", "fused")
    assert is_whole(hub, target, "me/fused")
    lora_nb.upload("latest", "fused")
    assert len(hub.repositories["me/fused"].commits) == 1
    # What lies there is not what a run has made that has made nothing.
    launch.create(load(FuseConfig, flags={**options, "name": "idle"}))
    with pytest.raises(LoraError, match=r"^path: .*-idle has saved no adapter \(status: crashed\)"):
        lora_nb.upload("idle", "x")
    monkeypatch.setenv("LORA_NB_RUNS", str(home / "runs"))
    lora_nb.upload(f"{finished.name}@3", "step3")
    there = hub.repositories["me/step3"].files["adapters.safetensors"]
    assert there == (finished / "checkpoints" / "0000003" / "adapters.safetensors").read_bytes()
    with pytest.raises(LoraError, match=r"^path: gone does not exist\."):
        lora_nb.upload("gone", "x")
