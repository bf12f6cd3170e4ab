"""A shared object that gives functions of another library new names.

`scipy-openblas32` exports `scipy_cblas_sgemm` where MLX asks for `cblas_sgemm`. The object made
here has one jump per name, through a table of addresses that the dynamic loader fills. It is
written byte by byte, because a compiler is not everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["MACHINES", "shared_object"]

MACHINES = ("x86_64", "aarch64")

_ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
_GLOB_DAT = {"x86_64": 6, "aarch64": 1025}
_PAGE = 0x10000  # the largest page size of both machines
_JUMP = 16
_SONAME = "lora_nb-blas.so"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_DYNAMIC = struct.Struct("<qQ")
_SEGMENTS, _DYNAMICS = 4, 11

_LOAD, _DYNAMIC_SEGMENT, _GNU_STACK = 1, 2, 0x6474E551
_EXECUTE, _WRITE, _READ = 1, 2, 4
_GLOBAL, _GLOBAL_FUNCTION = 0x10, 0x12


@dataclass(frozen=True)
class _Layout:
    """Where each part lies in the file. The last two are in memory one page further up."""

    symbols: int
    strings: int
    hashes: int
    relocations: int
    code: int
    dynamic: int
    slots: int
    end: int


def shared_object(names: Mapping[str, str], library: str, machine: str) -> bytes:
    """A 64-bit ELF shared object for Linux that exports `names` as jumps into `library`.

    `names` maps each exported name to its name in `library`, which is a path or a soname.
    Raises ValueError for a machine that is not among MACHINES.
    """
    if machine not in MACHINES:
        raise ValueError(f"no jump known for {machine}")
    symbols = [*names.values(), *names]
    strings, place = _strings([library, _SONAME, *symbols])
    hashes = _hash_table(symbols)
    at = _layout(len(names), len(strings), len(hashes))
    slots = range(at.slots + _PAGE, at.end + _PAGE, 8)
    jumps = range(at.code, at.code + _JUMP * len(names), _JUMP)

    undefined = [_SYMBOL.pack(place[name], _GLOBAL, 0, 0, 0, 0) for name in names.values()]
    defined = [
        _SYMBOL.pack(place[name], _GLOBAL_FUNCTION, 0, 1, jump, _JUMP)
        for name, jump in zip(names, jumps, strict=True)
    ]
    relocations = [
        _RELOCATION.pack(slot, symbol << 32 | _GLOB_DAT[machine], 0)
        for symbol, slot in enumerate(slots, start=1)
    ]
    parts = {
        0: _header(machine),
        _HEADER.size: _segments(at, jumps.stop),
        at.symbols: bytes(_SYMBOL.size) + b"".join(undefined + defined),
        at.strings: strings,
        at.hashes: hashes,
        at.relocations: b"".join(relocations),
        at.code: b"".join(_jump(*pair, machine) for pair in zip(jumps, slots, strict=True)),
        at.dynamic: _dynamic(at, place[library], place[_SONAME], len(strings), len(names)),
    }
    image = bytearray(at.end)
    for start, part in parts.items():
        image[start : start + len(part)] = part
    return bytes(image)


def _layout(names: int, strings: int, hashes: int) -> _Layout:
    symbols_at = _HEADER.size + _SEGMENTS * _SEGMENT.size
    strings_at = symbols_at + _SYMBOL.size * (1 + 2 * names)
    hashes_at = _aligned(strings_at + strings, 8)
    relocations_at = _aligned(hashes_at + hashes, 8)
    code_at = _aligned(relocations_at + _RELOCATION.size * names, _JUMP)
    dynamic_at = code_at + _JUMP * names
    slots_at = dynamic_at + _DYNAMIC.size * _DYNAMICS
    return _Layout(
        symbols_at, strings_at, hashes_at, relocations_at, code_at, dynamic_at, slots_at,
        slots_at + 8 * names,
    )  # fmt: skip


def _header(machine: str) -> bytes:
    kind = b"\x7fELF" + bytes((2, 1, 1))  # 64 bits, little-endian, version 1
    shared, version, no_entry, no_sections, flags = 3, 1, 0, 0, 0
    return _HEADER.pack(
        kind, shared, _ELF_MACHINE[machine], version, no_entry, _HEADER.size, no_sections, flags,
        _HEADER.size, _SEGMENT.size, _SEGMENTS, 64, 0, 0,
    )  # fmt: skip


def _segments(at: _Layout, code_end: int) -> bytes:
    """Code and tables read-only, the rest writable, and no executable stack."""
    memory, size = at.dynamic + _PAGE, at.end - at.dynamic
    dynamics = _DYNAMIC.size * _DYNAMICS
    rows = (
        (_LOAD, _READ | _EXECUTE, 0, 0, 0, code_end, code_end, _PAGE),
        (_LOAD, _READ | _WRITE, at.dynamic, memory, memory, size, size, _PAGE),
        (_DYNAMIC_SEGMENT, _READ | _WRITE, at.dynamic, memory, memory, dynamics, dynamics, 8),
        (_GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16),
    )
    return b"".join(_SEGMENT.pack(*row) for row in rows)


def _dynamic(at: _Layout, library: int, soname: int, strings: int, names: int) -> bytes:
    entries = (
        (1, library),  # NEEDED
        (14, soname),  # SONAME
        (4, at.hashes),  # HASH
        (5, at.strings),  # STRTAB
        (10, strings),  # STRSZ
        (6, at.symbols),  # SYMTAB
        (11, _SYMBOL.size),  # SYMENT
        (7, at.relocations),  # RELA
        (8, _RELOCATION.size * names),  # RELASZ
        (9, _RELOCATION.size),  # RELAENT
        (0, 0),  # the end
    )
    return b"".join(_DYNAMIC.pack(*entry) for entry in entries)


def _jump(here: int, slot: int, machine: str) -> bytes:
    """Instructions at address `here` that jump to the address stored at `slot`."""
    if machine == "x86_64":
        landing = bytes.fromhex("f30f1efa")  # endbr64
        return landing + struct.pack("<Hi6x", 0x25FF, slot - (here + 10))  # jmp *slot(%rip)
    pages = (slot >> 12) - (here >> 12)
    adrp = 0x90000010 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5  # adrp x16, slot
    load = 0xF9400211 | (slot & 0xFFF) // 8 << 10  # ldr x17, [x16, slot's place in its page]
    return struct.pack("<4I", adrp, load, 0xD61F0220, 0xD503201F)  # br x17, nop


def _strings(texts: Iterable[str]) -> tuple[bytes, dict[str, int]]:
    """The string table and where in it each text begins."""
    table, place = b"\0", {}
    for text in texts:
        place[text] = len(table)
        table += text.encode() + b"\0"
    return table, place


def _hash_table(symbols: list[str]) -> bytes:
    """The table by which the loader finds a symbol: a first one per bucket, then chains."""
    count = len(symbols)
    buckets, chains = [0] * count, [0] * (count + 1)
    for index, name in enumerate(symbols, start=1):
        bucket = _hash(name) % count
        chains[index], buckets[bucket] = buckets[bucket], index
    return struct.pack(f"<{2 + 2 * count + 1}I", count, count + 1, *buckets, *chains)


def _hash(name: str) -> int:
    """The hash of the System V ABI."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value


def _aligned(number: int, to: int) -> int:
    return -(-number // to) * to
