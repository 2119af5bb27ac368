"""Small ELF files: nothing to run, but all that a dynamic linker reads before it runs anything."""

import struct
import sys
from pathlib import Path

# Class, byte order and processor of the Python that runs this.
with open(sys.executable, "rb") as python:
    _IDENT = python.read(20)
BITS = 64 if _IDENT[4] == 2 else 32
MACHINE = struct.unpack("<H" if _IDENT[5] == 1 else ">H", _IDENT[18:20])[0]

NEEDED, STRTAB, SONAME, RPATH, RUNPATH = 1, 5, 14, 15, 29


def write_elf(
    path: Path, *needed: str, bits=BITS, machine=MACHINE, order="<", **names: str
) -> Path:
    """Write a library that needs others; ``names``: its soname, rpath or runpath."""
    strings, tags = b"\0", []
    tag_of = {"soname": SONAME, "rpath": RPATH, "runpath": RUNPATH}
    for tag, text in [(NEEDED, n) for n in needed] + [(tag_of[k], v) for k, v in names.items()]:
        tags.append((tag, len(strings)))
        strings += text.encode() + b"\0"

    word = "Q" if bits == 64 else "I"
    header, program = struct.Struct(f"{order}HHI{3 * word}I6H"), 56 if bits == 64 else 32
    table = 16 + header.size
    dynamic = table + 2 * program
    size = (len(tags) + 2) * struct.calcsize(2 * word)
    # The addresses are not the places in the file, as in real files.
    base, text_at = 0x1000, dynamic + size
    entries = [*tags, (STRTAB, base + text_at), (0, 0)]

    def segment(kind: int, offset: int, length: int) -> bytes:
        where = (offset, base + offset, base + offset, length, length)
        if bits == 64:
            return struct.pack(f"{order}II6Q", kind, 4, *where, 8)
        return struct.pack(f"{order}8I", kind, *where, 4, 4)

    content = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    content += header.pack(3, machine, 1, 0, table, 0, 0, table, program, 2, 0, 0, 0)
    content += segment(1, 0, text_at + len(strings)) + segment(2, dynamic, size)
    content += b"".join(struct.pack(f"{order}2{word}", *entry) for entry in entries) + strings
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
