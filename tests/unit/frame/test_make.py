"""What `make` says and chooses before anything is installed. No test here installs a thing."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = (
    "cat", "dirname", "env", "find", "grep", "head", "mkdir", "rm", "sed", "sh", "sleep", "touch",
    "uname",
)  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


class Machine:
    """A clone and a PATH on which only the programs that a test makes are found."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.bin = folder / "clone", folder / "bin"
        self.clone.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.clone)
        shutil.copytree(ROOT / ".ci", self.clone / ".ci")
        for name in (*TOOLS, "make"):
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        self.program("uname", 'case "$1" in -m) echo x86_64 ;; *) echo Linux ;; esac')

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def python(self, name: str = "python3", *, venv: bool = True, pip: str = "exit 0") -> None:
        """A Python 3.12 whose venv module makes a folder, and whose pip does as told."""
        inside = f"""case "$*" in
            "-m pip --version" | *version_info*) exit 0 ;;
            "-m pip install"*) echo "$@" >> pip-calls; {pip} ;;
        esac"""
        self.program(
            name,
            f"""case "$*" in
            *"%d.%d"*) echo 3.12 ;;
            *version_info*) exit 0 ;;
            *ensurepip*) exit {0 if venv else 1} ;;
            --version) echo Python 3.12.1 ;;
            "-m venv .venv")
                mkdir -p .venv/bin
                cat > .venv/bin/python <<'END'
#!/bin/sh
{inside}
END
                /bin/chmod +x .venv/bin/python ;;
            esac""",
        )

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.clone,
            env={"PATH": str(self.bin), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def pip_calls(self) -> list[str]:
        calls = self.clone / "pip-calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


STAMP = ("make", ".venv/.installed")


def test_a_python_that_is_too_old_is_named_with_what_to_install(machine: Machine) -> None:
    machine.program("python3", '[ "$1" = --version ] && echo Python 3.9.2 || exit 1')
    machine.program("apt-get", "exit 0")
    done = machine.run("make", "demo")
    assert done.returncode != 0
    assert "Python 3.11 or later is needed, and Python 3.9.2 is too old." in done.stderr
    assert "sudo apt-get install python3 python3-venv" in done.stderr
    assert not (machine.clone / ".venv").exists()


def test_no_python_at_all(machine: Machine) -> None:
    done = machine.run(*STAMP)
    assert "no python3 was found" in done.stderr
    assert "https://www.python.org/downloads/" in done.stderr


def test_a_name_on_path_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.program("python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    machine.python("python3.12")
    assert machine.run(".ci/venv", "--python").stdout.strip() == "python3.12"


def test_macos_is_told_of_brew_and_needs_no_extra(machine: Machine) -> None:
    machine.program("uname", 'case "$1" in -m) echo arm64 ;; *) echo Darwin ;; esac')
    assert "brew install python@3.13" in machine.run(*STAMP).stderr
    machine.python()
    assert machine.run(*STAMP).returncode == 0
    assert machine.pip_calls()[0].endswith("--editable .")


def test_an_intel_mac_is_refused(machine: Machine) -> None:
    machine.program("uname", 'case "$1" in -m) echo x86_64 ;; *) echo Darwin ;; esac')
    assert "MLX needs Apple silicon" in machine.run(*STAMP).stderr


@pytest.mark.parametrize(
    ("tool", "advice"),
    [("apt-get", "sudo apt-get install python3-venv"), ("dnf", "sudo dnf install python3-pip")],
)
def test_a_python_without_venv_is_told_its_package(
    machine: Machine, tool: str, advice: str
) -> None:
    machine.program(tool, "exit 0")
    machine.python(venv=False)
    done = machine.run(*STAMP)
    assert done.returncode != 0
    assert "python3 has no venv module with pip." in done.stderr
    assert advice in done.stderr


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        (
            "WARNING: Retrying: NewConnectionError: Temporary failure in name resolution",
            "pip could not reach the package index.",
        ),
        (
            "SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] after connection broken",
            "pip does not trust the certificate of the package index.",
        ),
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        ("ERROR: ResolutionImpossible", "pip could not install lora_nb."),
    ],
)
def test_a_pip_that_fails_is_explained(machine: Machine, output: str, advice: str) -> None:
    machine.python(pip=f"echo '{output}' >&2; exit 1")
    done = machine.run(*STAMP)
    assert done.returncode != 0
    assert f"lora_nb: {advice}" in done.stderr
    assert not (machine.clone / ".venv" / ".installed").exists()
    assert "install.log" in done.stderr or "disk" in done.stderr


def test_installing_happens_once_and_again_after_a_change(machine: Machine) -> None:
    machine.python()
    assert machine.run(*STAMP).returncode == 0
    assert machine.run(*STAMP).returncode == 0
    assert len(machine.pip_calls()) == 1
    assert machine.pip_calls()[0].endswith("--editable .[cpu]")
    time.sleep(0.01)
    (machine.clone / "pyproject.toml").touch()
    assert machine.run(*STAMP).returncode == 0
    assert len(machine.pip_calls()) == 2


def test_developers_get_the_users_packages_too(machine: Machine) -> None:
    machine.python()
    assert machine.run("make", ".venv/.installed-dev").returncode == 0
    assert machine.pip_calls()[0].endswith("--editable .[cpu,test,dev]")
    machine.run(*STAMP)
    assert len(machine.pip_calls()) == 1


@pytest.mark.parametrize(
    ("driver", "backend"),
    [("580.65.06", "cuda13"), ("570.86.10", "cuda12"), ("470.1", "cpu"), ("", "cpu")],
)
def test_the_driver_chooses_the_cuda(machine: Machine, driver: str, backend: str) -> None:
    machine.program("nvidia-smi", f"echo {driver}")
    done = machine.run(".ci/venv", "--backend")
    assert done.stdout.strip() == backend
    assert ("too old" in done.stderr) == (driver == "470.1")


def test_an_nvidia_smi_without_a_gpu_means_cpu(machine: Machine) -> None:
    machine.program("nvidia-smi", "echo 'NVIDIA-SMI has failed' ; exit 9")
    assert machine.run(".ci/venv", "--backend").stdout.strip() == "cpu"


def test_the_backend_can_be_chosen_and_misspelt(machine: Machine) -> None:
    machine.python()
    assert machine.run("make", "venv").returncode == 0
    done = machine.run("make", "venv", BACKEND="cuda12")
    assert done.returncode == 0
    assert "Changing from cpu to cuda12." in done.stderr
    assert machine.pip_calls()[-1].endswith("--editable .[cuda12,test,dev]")
    (machine.clone / "pyproject.toml").touch()
    assert machine.run(*STAMP).returncode == 0
    assert machine.pip_calls()[-1].endswith("--editable .[cuda12]"), "the choice stays"
    assert "BACKEND=rocm is not one of" in machine.run("make", "venv", BACKEND="rocm").stderr


def test_plain_make_tells_what_there_is(machine: Machine) -> None:
    done = machine.run("make")
    assert done.returncode == 0
    for target in ("demo", "lab", "test", "check", "docs", "clean"):
        assert f"make {target}" in done.stdout
