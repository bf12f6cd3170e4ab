from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_nb.runs import blas, compiler, cpus
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.environment import worker_environment

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = Path("/cache/blas.so")
GOOD = compiler.Compiler("/usr/bin/g++", works=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remembered = (cache_folder, compiler.compiler)
    for function in remembered:
        function.cache_clear()
    yield tmp_path / "cache" / "lora_nb"
    for function in remembered:
        function.cache_clear()


@pytest.fixture
def cpu(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux CPU with a fast BLAS and a good compiler, whatever this machine is."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(blas, "on_cpu", lambda: True)
    monkeypatch.setattr(blas, "preload", lambda: blas.Blas("OpenBLAS", "1", LIBRARY, ""))
    monkeypatch.setattr(compiler, "compiler", lambda: GOOD)
    monkeypatch.setattr(cpus, "physical_cores", lambda: 6)


@pytest.mark.usefixtures("cpu")
def test_a_worker_on_a_cpu_gets_all_of_it(cache: Path) -> None:
    assert worker_environment({"HOME": "/home/me", "HF_TOKEN": "t"}) == {
        "HOME": "/home/me",
        "HF_TOKEN": "t",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "true",
        "LD_PRELOAD": str(LIBRARY),
        "OPENBLAS_NUM_THREADS": "5",
        "TMPDIR": str(cache / "tmp"),
    }


@pytest.mark.usefixtures("cpu")
def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    mine = {
        "LD_PRELOAD": "/mine.so",
        "OPENBLAS_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    made = worker_environment(mine)
    assert made["LD_PRELOAD"] == f"/mine.so:{LIBRARY}"
    assert {**made, "LD_PRELOAD": "/mine.so"}.items() >= mine.items()
    assert "OPENBLAS_NUM_THREADS" not in worker_environment({"OMP_NUM_THREADS": "2"})
    assert worker_environment(made) == made, "applying it twice changes nothing"


@pytest.mark.usefixtures("cpu")
def test_a_worker_imports_nothing_from_where_it_works() -> None:
    """A blank place in PYTHONPATH means the working folder, which may be that of a model."""
    made = worker_environment({"PYTHONPATH": f":/mine::{ROOT}:"})
    assert made["PYTHONPATH"] == f"/mine:{ROOT}"
    assert made["PYTHONSAFEPATH"] == "1"


@pytest.mark.usefixtures("cpu")
def test_a_folder_for_temporary_files_that_is_gone_is_not_handed_on(cache: Path) -> None:
    assert worker_environment({"TMPDIR": "/no/such"})["TMPDIR"] == str(cache / "tmp")


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (4, "3")])
def test_one_core_is_left_to_the_notebook(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: str
) -> None:
    monkeypatch.setattr(cpus, "physical_cores", lambda: cores)
    assert worker_environment({})["OPENBLAS_NUM_THREADS"] == threads


@pytest.mark.usefixtures("cpu")
def test_this_process_is_left_alone() -> None:
    before = dict(os.environ)
    worker_environment(os.environ)
    assert dict(os.environ) == before


def test_a_gpu_needs_neither_blas_nor_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "on_cpu", lambda: False)
    assert set(worker_environment({})) == {
        "PYTHONUTF8",
        "PYTHONPATH",
        "PYTHONSAFEPATH",
        "PYTHONUNBUFFERED",
        "TOKENIZERS_PARALLELISM",
    }


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_broken_compiler_turns_compiling_off(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "g++", "echo 'fatal error: cmath: No such file' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(blas, "on_cpu", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    found = compiler.compiler()
    assert (found.works, found.problem) == (False, "fatal error: cmath: No such file")
    made = worker_environment({})
    assert made["MLX_DISABLE_COMPILE"] == "1"
    assert "TMPDIR" not in made
    assert not (cache / "compiler.json").exists(), "a failure is not remembered"


def test_a_compiler_whose_files_do_not_load_is_broken(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "g++", 'while [ $# -gt 1 ]; do shift; done; echo no > "$1"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert not compiler.compiler().works
    assert list((cache / "tmp").iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_no_compiler_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(blas, "on_cpu", lambda: True)
    assert compiler.compiler() == compiler.Compiler("", works=False, problem="not found")
    assert not {"MLX_DISABLE_COMPILE", "TMPDIR"} & set(worker_environment({}))


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
@pytest.mark.skipif(sys.platform != "linux", reason="only a Linux CPU needs one")
def test_a_good_compiler_is_tried_once_a_day(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.compiler().works
    compiler.compiler.cache_clear()
    monkeypatch.setattr(compiler, "_probe", lambda path: "tried again")
    assert compiler.compiler().works
    compiler.compiler.cache_clear()
    memory = cache / "compiler.json"
    noted = json.loads(memory.read_text())
    memory.write_text(json.dumps({**noted, "time": noted["time"] - 2 * 24 * 3600}))
    assert compiler.compiler().problem == "tried again"


def elf(size: int) -> bytes:
    """The head of a library whose section table ends at `size`."""
    head = bytearray(64)
    head[:4] = b"\x7fELF"
    struct.pack_into("<Q", head, 40, size - 2 * 64)
    struct.pack_into("<HH", head, 58, 64, 2)
    return bytes(head)


def test_torn_kernels_are_removed_and_whole_and_new_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "mlx" / "0.32.4" / "cpu"
    folder.mkdir(parents=True)
    contents = {
        "whole": elf(1000).ljust(1000),
        "torn": elf(1000).ljust(999),
        "empty": b"",
        "text": b"x" * 1000,
        "new": b"",
    }
    for name, content in contents.items():
        path = folder / f"{name}.so"
        path.write_bytes(content)
        if name != "new":
            os.utime(path, (time.time() - 120,) * 2)
    removed = compiler.remove_torn_kernels(tmp_path)
    assert sorted(p.stem for p in removed) == ["empty", "text", "torn"]
    assert sorted(p.stem for p in folder.iterdir()) == ["new", "whole"]


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
@pytest.mark.skipif(not blas.on_cpu(), reason="kernels are files on a Linux CPU only")
def test_a_real_kernel_counts_as_whole(cache: Path) -> None:
    code = "import mlx.core as mx; mx.eval(mx.compile(lambda x: mx.exp(x) + x)(mx.ones(8)))"
    made = worker_environment({k: v for k, v in os.environ.items() if k != "TMPDIR"})
    subprocess.run([sys.executable, "-c", code], env=made, check=True)
    kernels = list((cache / "tmp").glob("mlx/*/cpu/*.so"))
    assert kernels
    for kernel in kernels:
        os.utime(kernel, (time.time() - 120,) * 2)
    assert compiler.remove_torn_kernels(cache / "tmp") == []


def test_the_cache_is_private(cache: Path) -> None:
    assert cache_folder() == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("fault", ["writable by others", "a link", "a file"])
def test_a_cache_that_others_could_change_is_not_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    cache.parent.mkdir()
    if fault == "a file":
        cache.touch()
    elif fault == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        cache.symlink_to(tmp_path / "elsewhere")
    else:
        cache.mkdir()
        cache.chmod(0o777)
    assert cache_folder() == tmp_path / "temporary" / f"lora_nb-{os.getuid()}"


def test_a_path_that_the_loader_would_split_is_not_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert " " not in str(cache_folder())


def machine(folder: Path, siblings: dict[int, str]) -> Path:
    for number, text in siblings.items():
        topology = folder / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize(
    ("usable", "limit", "cores"),
    [
        ({0, 1, 2, 3}, None, 2),
        ({0, 1, 2, 3}, "max 100000", 2),
        ({0, 2}, None, 1),
        ({0, 1}, None, 2),
        ({0, 1, 2, 3}, "100000 100000", 1),
        ({0, 1, 2, 3}, "50000 100000", 1),
        ({0, 1, 2, 3}, "800000 100000", 2),
        ({0, 1, 2, 3}, "nonsense", 2),
    ],
)
def test_cores_are_physical_usable_and_within_the_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    usable: set[int],
    limit: str | None,
    cores: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable, raising=False)
    tree = machine(tmp_path / "cpu", {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"})
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert cpus.physical_cores(tree, tmp_path) == cores


def test_cores_where_the_system_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert cpus.physical_cores(tmp_path, tmp_path) == 3
