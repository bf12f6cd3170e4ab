from __future__ import annotations

import ctypes
import math
import platform
import struct
import sys
from pathlib import Path

import pytest

from lora_nb.runs.shim import MACHINES, shared_object

LIBM = "libm.so.6"
loads = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in MACHINES, reason="an ELF file for Linux"
)


def written(folder: Path, names: dict[str, str]) -> Path:
    path = folder / "shim.so"
    path.write_bytes(shared_object(names, LIBM, platform.machine()))
    return path


@loads
def test_each_new_name_calls_the_function_it_stands_for(tmp_path: Path) -> None:
    names = {f"my_{name}": name for name in ("cos", "sin", "exp", "log", "sqrt", "tanh", "cbrt")}
    library = ctypes.CDLL(str(written(tmp_path, names)))
    for new, old in names.items():
        function = getattr(library, new)
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
        assert function(0.7) == pytest.approx(getattr(math, old)(0.7), abs=1e-15)


@loads
def test_only_the_new_names_are_exported(tmp_path: Path) -> None:
    library = ctypes.CDLL(str(written(tmp_path, {"my_cos": "cos"})))
    with pytest.raises(AttributeError):
        library.my_sin  # noqa: B018 - looking it up is what fails


@loads
def test_a_function_that_the_library_lacks_is_an_error_at_loading(tmp_path: Path) -> None:
    path = written(tmp_path, {"my_cos": "no_such_function"})
    with pytest.raises(OSError, match="no_such_function"):
        ctypes.CDLL(str(path))


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_file_says_which_machine_it_is_for(machine: str, number: int) -> None:
    image = shared_object({"a": "b"}, "/some/lib.so", machine)
    assert image[:4] == b"\x7fELF"
    assert struct.unpack_from("<HH", image, 16) == (3, number)
    assert image == shared_object({"a": "b"}, "/some/lib.so", machine)


def test_arm_jumps_are_the_instructions_that_an_assembler_makes() -> None:
    image = shared_object({"a": "b"}, "/some/lib.so", "aarch64")
    code = image.index(bytes.fromhex("20021fd61f2003d5")) - 8  # br x17; nop
    adrp, load = struct.unpack_from("<II", image, code)
    assert adrp == 0x90000090  # adrp x16, 0x10000 from the first page
    assert load & 0xFFC003FF == 0xF9400211  # ldr x17, [x16, #...]
    slot = 0x10000 + (load >> 10 & 0xFFF) * 8
    assert slot == 0x10000 + len(image) - 8


def test_another_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        shared_object({"a": "b"}, "lib.so", "riscv64")
