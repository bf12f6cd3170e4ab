"""One JupyterLab server of the tests' own, with nothing of the user's in it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil

__all__ = ["LabServer"]

_MARK = "LORA_NB_BROWSER_TESTS"
_START_SECONDS = 90.0
_QUIET_SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}


class LabServer:
    """A JupyterLab on a random port of this machine; `close` ends it and all it has started.

    `app` is `notebook` for Jupyter Notebook. One server can't have both: the files of one that
    have the same name as files of the other are refused, once those were asked for.
    """

    def __init__(self, base: Path, app: Literal["lab", "notebook"] = "lab") -> None:
        self._app = app
        self.root = base / "notebooks"
        self._token = secrets.token_hex(16)
        self._port = _free_port()
        self._log_path = base / "server.log"
        self.root.mkdir(parents=True)
        _write_settings(base / "settings")
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(base),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(base),
                cwd=self.root,
                start_new_session=True,
            )
        self._wait_until_up()

    @property
    def origin(self) -> str:
        """Where the server is, e.g. http://127.0.0.1:4711."""
        return f"http://127.0.0.1:{self._port}"

    def address(self, notebook: Path, workspace: str) -> str:
        """The address of a notebook; in JupyterLab it is alone in a workspace of its own."""
        relative = notebook.relative_to(self.root).as_posix()
        is_lab = self._app == "lab"
        place = f"lab/workspaces/{workspace}/tree" if is_lab else "notebooks"
        return f"{self.origin}/{place}/{relative}?token={self._token}"

    def end_kernels(self) -> None:
        """Shut down every session and kernel, and end the workers they have left behind."""
        for what in ("sessions", "kernels"):
            for found in self._ask("GET", f"api/{what}"):
                # A kernel goes with its session, and one that a test has broken goes at the end.
                with suppress(urllib.error.HTTPError):
                    self._ask("DELETE", f"api/{what}/{found['id']}")
        _kill(p for p in self._descendants() if "lora_nb.worker" in _words(p))

    def close(self) -> None:
        """End the server, its kernels and their workers."""
        self._process.terminate()
        _kill(self._descendants())
        self._process.wait(10)

    def _command(self, base: Path) -> list[str]:
        name = "LabApp" if self._app == "lab" else "JupyterNotebookApp"
        return [
            sys.executable,
            "-m",
            "jupyterlab" if self._app == "lab" else "notebook",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self._port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self._token}",
            "--expose-app-in-browser",
            f"--{name}.user_settings_dir={base / 'settings'}",
            f"--{name}.workspaces_dir={base / 'workspaces'}",
        ]

    def _environment(self, base: Path) -> dict[str, str]:
        root = Path(__file__).parents[2]
        others = os.environ.get("PYTHONPATH")
        paths = [str(root), str(root / "widgets"), *([others] if others else [])]
        environment = dict(os.environ) | {
            _MARK: self._token,
            "HF_HUB_OFFLINE": "1",
            "IPYTHONDIR": str(base / "ipython"),
            "JUPYTER_CONFIG_DIR": str(base / "config"),
            "JUPYTER_DATA_DIR": str(base / "data"),
            "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        # Runs belong beside the notebook that starts them.
        environment.pop("LORA_NB_RUNS", None)
        return environment

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._ask("GET", "api/status")
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.close()
        tail = self._log_path.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"JupyterLab did not start. Its last words:\n{tail}")

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.origin}/{path}",
            method=method,
            headers={"Authorization": f"token {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def _descendants(self) -> list[psutil.Process]:
        """Every process that carries the server's mark: workers leave its process tree."""
        return [p for p in psutil.process_iter() if _carries(p, self._token)]


def _carries(process: psutil.Process, token: str) -> bool:
    try:
        return process.environ().get(_MARK) == token
    except (psutil.Error, OSError):
        return False


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    ended = list(processes)
    for process in ended:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(ended, timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_settings(folder: Path) -> None:
    for name, settings in _QUIET_SETTINGS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
