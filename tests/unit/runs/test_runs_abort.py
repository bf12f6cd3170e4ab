"""An abort that the worker doesn't hear: it is killed, and the run says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_nb.runs import control, lock
from lora_nb.runs.events import Ended
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from tests.unit.runs.kit import made, started

_DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); "
_DEAF += "sys.stdin.read()"


@pytest.mark.parametrize("deaf", [True, False])
def test_a_worker_that_is_killed_was_aborted_and_did_not_crash(
    tmp_path: Path, deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_GRACE_SECONDS", 0.3)
    code = _DEAF if deaf else "import sys; print(flush=True); sys.stdin.read()"
    run = made(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(held,),
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        os.close(held)
        run = made_again(run.path, worker.pid)

        control.abort(run)

        assert worker.wait(10) == (-9 if deaf else -15)
    assert run.status == "aborted"
    last = run.records()[-1].event
    assert isinstance(last, Ended)
    assert last.message.startswith("Ended")


def made_again(path: Path, pid: int) -> RunFolder:
    """The run with the first event of this worker."""
    run = RunFolder(path)
    with EventLog(run.events_path) as log:
        log.write(started(pid))
    return run
