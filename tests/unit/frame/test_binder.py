"""Binder: repo2docker takes the folder, and its steps, replayed here, lead to a first notebook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PARTS = ("binder", "lora_nb", "notebooks", "widgets", "pyproject.toml", "README.md", "LICENSE")
LOOK = """
import json, lora_nb, lora_nb_widgets
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "lora_nb")
magics = [name for name in shell.magics_manager.magics["line"] if name.startswith("lora_")]
print(json.dumps({"from": [lora_nb.__file__, lora_nb_widgets.__file__], "magics": magics}))
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a clone has of the project, as far as Binder needs it."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in PARTS:
        if name == "notebooks":
            # Not what running them leaves there.
            (clone / name).mkdir()
            for path in (ROOT / name).glob("*.ipynb"):
                shutil.copy(path, clone / name)
        elif (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, clone / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, clone)
    return clone


class Replay:
    """The environment that Binder would make: fresh, beside the packages that are here already."""

    def __init__(self, folder: Path, clone: Path) -> None:
        self.folder, self._clone = folder / "environment", clone
        venv.create(self.folder, symlinks=True)
        self._bin = self.folder / "bin"
        (site,) = self.folder.glob("lib/python*/site-packages")
        here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        # Its own comes first, and editable installs of here are not followed.
        (site / "here.pth").write_text("".join(f"{path}\n" for path in sorted(here)))
        path = os.pathsep.join([str(self._bin), str(Path(sys.executable).parent)])
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the clone."""
        return subprocess.run(
            [str(self._bin / words[0]) if words[0] == "python" else words[0], *words[1:]],
            cwd=self._clone,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def install(self) -> subprocess.CompletedProcess[str]:
        """Install what Binder would, without what it needs from elsewhere."""
        how = ("--no-deps", "--no-build-isolation", "-r", "binder/requirements.txt")
        return self.run("python", "-m", "pip", "install", *how)


def test_repo2docker_takes_the_folder(clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(clone)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Building conda environment for python=3.11" in said
    assert 'pip install --no-cache-dir -r "binder/requirements.txt"' in said
    assert "./binder/postBuild" in said


@pytest.mark.slow
def test_its_steps_lead_to_the_quickstart(tmp_path: Path, clone: Path) -> None:
    replay = Replay(tmp_path, clone)
    installed = replay.install()
    assert installed.returncode == 0, installed.stdout + installed.stderr
    built = replay.run("./binder/postBuild")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "No broken requirements found." in built.stdout
    assert "Signing notebook: notebooks/01_quickstart.ipynb" in built.stdout

    looked = replay.run("python", "-I", "-c", LOOK)
    assert looked.returncode == 0, looked.stderr
    found: dict[str, Any] = json.loads(looked.stdout)
    for path in found["from"]:
        assert Path(path).is_relative_to(replay.folder), path
    assert {"lora_train", "lora_generate", "lora_studio"} <= set(found["magics"])

    config = json.loads((replay.folder / "etc/jupyter/jupyter_server_config.json").read_text())
    assert set(config) == {"ServerApp", "LabApp", "JupyterNotebookApp"}
    for app in config.values():
        assert app["default_url"] == "/lab/tree/notebooks/01_quickstart.ipynb"
    assert (clone / "notebooks/01_quickstart.ipynb").is_file()


def test_a_missing_first_notebook_fails_the_build(tmp_path: Path, clone: Path) -> None:
    replay = Replay(tmp_path, clone)
    (clone / "notebooks/01_quickstart.ipynb").unlink()
    program = clone / "binder/postBuild"
    lines = program.read_text().splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.startswith("python - <<"))
    program.write_text("".join(["set -e\n", *lines[start:]]))
    built = replay.run("bash", "binder/postBuild")
    assert built.returncode == 1
    assert "There is no notebooks/01_quickstart.ipynb to begin with." in built.stderr
    assert not (replay.folder / "etc/jupyter/jupyter_server_config.json").exists()
