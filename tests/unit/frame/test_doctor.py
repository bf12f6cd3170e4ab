from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lora_nb.environment_report import backend, packages
from lora_nb.environment_report.look import environment
from lora_nb.environment_report.report import Check, Report
from lora_nb.runs import blas, compiler

REPORT = Report(
    (
        Check("Python", "3.11", ok=True),
        Check("<b>runs</b>", "/data/$x$ & <script>", ok=False, remedy="Free <some> room."),
        Check("system", "Linux"),
    )
)


@pytest.fixture(autouse=True)
def no_hub_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def probed(monkeypatch: pytest.MonkeyPatch, **found: object) -> None:
    monkeypatch.setattr(backend, "_probe", lambda python: found)
    monkeypatch.setattr(backend, "_cuda_extra", lambda: "")


def test_it_finds_what_is_there() -> None:
    report = environment()
    assert report["Python"].value.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    for package in ("mlx", "mlx-lm", "transformers", "huggingface_hub", "ipykernel", "pandas"):
        assert report[package].ok, report[package]
    assert report["backend"].ok
    assert report["backend"].value.split(",")[0] in {"CPU", "CUDA", "Metal"}
    assert "GB free" in report["runs"].value


def test_mlx_stays_out_of_this_process() -> None:
    code = (
        "import sys; from lora_nb.environment_report.look import environment; str(environment())\n"
        "print([m for m in ('mlx', 'mlx_lm', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_text_marks_each_line_and_gives_the_remedy_below() -> None:
    assert str(REPORT).splitlines() == [
        "ok  Python       3.11",
        "!!  <b>runs</b>  /data/$x$ & <script>",
        "                 -> Free <some> room.",
        "    system       Linux",
    ]
    assert not REPORT.ok
    assert Report(REPORT.checks[::2]).ok


def test_html_escapes_all_and_has_no_typesetting() -> None:
    page = REPORT._repr_html_()
    assert "<script>" not in page
    assert "&lt;b&gt;runs&lt;/b&gt;" in page
    assert "/data/$x$ &amp; &lt;script&gt;" in page
    assert "mathjax_ignore" in page


def test_frame_has_a_row_per_check() -> None:
    frame = REPORT.frame()
    assert list(frame.columns) == ["check", "found", "ok", "todo"]
    assert frame["ok"].tolist() == [True, False, None]


def test_a_token_is_told_of_but_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert environment()["Hub token"].value == "none"
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    report = environment()
    assert report["Hub token"].value == "set (HF_TOKEN)"
    assert "secret" not in str(report) + report._repr_html_()
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "token").write_text("hf_secretsecret")
    assert environment()["Hub token"].value == f"set ({tmp_path / 'hub' / 'token'})"


def test_an_endpoint_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example.org:8080/")
    assert environment()["HF_ENDPOINT"].value == "https://hub.example.org:8080"


def test_offline_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "local cache only" in environment()["HF_HUB_OFFLINE"].remedy
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(KeyError):
        environment()["HF_HUB_OFFLINE"]


def test_a_package_outside_the_tested_range_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["pandas>=99"])
    check = environment()["pandas"]
    assert check.ok is False
    assert check.remedy == "Not tested: pip install 'pandas>=99'"


def test_mlx_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backend, "_cuda_extra", lambda: "")
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx" / "core.py").write_text("raise ImportError('libmlx.so: not found')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    backend._probe.cache_clear()
    check = environment()["backend"]
    backend._probe.cache_clear()
    assert check.value == "MLX does not start: ImportError: libmlx.so: not found"
    assert check.remedy == "pip install 'lora-nb[cpu]'"


def test_a_slow_blas_says_how_to_get_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    probed(monkeypatch, kind="CPU", device="", gflops=6.0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(blas, "preload", lambda: blas._reference("slow"))
    check = environment()["BLAS"]
    assert check.ok is False
    assert check.value == "reference BLAS, 6 GFLOP/s in float32"
    assert check.remedy == "Slow; pip install scipy-openblas32 for a fast one."


def test_a_broken_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    probed(monkeypatch, kind="CPU", device="", gflops=6.0)
    monkeypatch.setattr(sys, "platform", "linux")
    broken = compiler.Compiler("/usr/bin/g++", works=False, problem="no cc1plus")
    monkeypatch.setattr(compiler, "compiler", lambda: broken)
    check = environment()["C++ compiler"]
    assert check.ok is False
    assert check.value == "/usr/bin/g++ does not work (no cc1plus), so mx.compile is off"


def test_a_gpu_needs_no_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    probed(monkeypatch, kind="CUDA", device="NVIDIA H100", gflops=9000.0)
    report = environment()
    assert report["backend"].value == "CUDA, NVIDIA H100"
    assert "BLAS" not in [check.name for check in report.checks]


def test_a_folder_without_room_or_rights_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probed(monkeypatch, kind="Metal", device="", gflops=1.0)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    check = environment(tmp_path / "not" / "there")["runs"]
    assert (check.ok, "1.0 GB free" in check.value) == (False, True)
    assert "LORA_NB_RUNS" in check.remedy
    assert not (tmp_path / "not").exists()


def test_a_check_that_goes_wrong_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no /proc here")

    monkeypatch.setattr(packages, "_wanted", broken)
    check = environment()["packages"]
    assert (check.ok, check.value) == (False, "could not be found out: no /proc here")
