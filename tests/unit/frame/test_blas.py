from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_nb.runs import blas, shim
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.environment import worker_environment

on_cpu = pytest.mark.skipif(not blas.on_cpu(), reason="only MLX's wheel for Linux CPUs needs one")
bundled = pytest.mark.skipif(
    not blas.on_cpu() or blas._scipy_openblas() is None, reason="needs scipy-openblas32"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and nothing remembered from before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(blas.VARIABLE, raising=False)
    remembered = (cache_folder, blas._chosen)
    for function in remembered:
        function.cache_clear()
    yield tmp_path / "cache" / "lora_nb"
    for function in remembered:
        function.cache_clear()


@bundled
def test_openblas_is_found_and_its_shim_is_the_users_own(cache: Path) -> None:
    found = blas.preload()
    assert found.name == "OpenBLAS"
    assert found.path is not None
    assert found.path.parent == cache
    assert found.path.stat().st_mode & 0o077 == 0
    assert blas.describe().startswith("OpenBLAS 0.")
    assert "scipy-openblas32 through a shim" in blas.describe()
    assert [p.name for p in cache.iterdir()] == [found.path.name], "nothing temporary is left"


@bundled
def test_a_shim_that_is_there_is_not_checked_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = blas.preload()
    blas._chosen.cache_clear()
    monkeypatch.setattr(blas, "_checked", lambda library: pytest.fail("checked again"))
    assert blas.preload() == first


@bundled
def test_a_damaged_shim_is_made_anew(cache: Path) -> None:
    path = blas.preload().path
    assert path is not None
    good = path.read_bytes()
    path.write_bytes(good[:500])
    blas._chosen.cache_clear()
    assert blas.preload().path == path
    assert path.read_bytes() == good


@on_cpu
@pytest.mark.parametrize("image", [b"", b"not a library", b"\x7fELF" + bytes(2000)])
def test_a_shim_that_does_not_load_is_never_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    monkeypatch.setattr(shim, "shared_object", lambda *_: image)
    monkeypatch.setattr(blas, "_of_the_system", lambda: None)
    found = blas.preload()
    assert found.path is None
    assert str(found) == "reference BLAS (slow; pip install scipy-openblas32 for a fast one)"
    assert list(cache.iterdir()) == []


@bundled
def test_a_shim_that_multiplies_wrongly_is_never_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = shim.shared_object
    swapped = {"cblas_sgemm": "scipy_cblas_dgemm", "cblas_dgemm": "scipy_cblas_sgemm"}
    monkeypatch.setattr(shim, "shared_object", lambda _, *rest: make(swapped, *rest))
    monkeypatch.setattr(blas, "_of_the_system", lambda: None)
    assert blas.preload().path is None


@bundled
def test_processes_that_start_at_once_agree(cache: Path) -> None:
    code = "from lora_nb.runs import blas; print(blas.preload().path)"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    paths = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(paths) == 1
    assert Path(paths.pop()).parent == cache
    assert len(list(cache.iterdir())) == 1


@on_cpu
def test_off_means_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blas.VARIABLE, "off")
    assert blas.preload().path is None
    assert blas.describe() == "reference BLAS (LORA_NB_BLAS=off)"


@on_cpu
def test_a_library_that_does_not_work_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(blas.VARIABLE, "/no/such/libblas.so")
    assert blas.preload().path is None
    assert "LORA_NB_BLAS=/no/such/libblas.so does not work" in blas.describe()


def test_elsewhere_mlx_keeps_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "on_cpu", lambda: False)
    assert blas.preload() == blas.Blas("MLX's own", "", None, "")
    assert blas.describe() == "MLX's own"


_SPEED = """
import time
import mlx.core as mx, numpy as np
a, b = mx.random.normal((384, 384)), mx.random.normal((384, 384))
assert np.allclose(np.array(a @ b), np.array(a) @ np.array(b), atol=1e-3)
best = 1e9
for _ in range(5):
    start = time.perf_counter()
    mx.eval(a @ b)
    best = min(best, time.perf_counter() - start)
print(best)
"""


@bundled
def test_mlx_multiplies_rightly_and_several_times_faster_with_it() -> None:
    def seconds(environment: dict[str, str]) -> float:
        done = subprocess.run(
            [sys.executable, "-c", _SPEED], env=environment, capture_output=True, check=True
        )
        return float(done.stdout)

    plain = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    assert seconds(worker_environment(plain)) < seconds(plain) / 3
