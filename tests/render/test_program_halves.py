"""The programs that only some projects have: a project gets its own, and what two share is the same."""

import ast
from pathlib import Path

import pytest

from tests.support import ALPINE, DEBIAN, HALVES, PROGRAMS


@pytest.mark.parametrize("kind", HALVES)
def test_a_project_gets_only_the_programs_of_its_kind(kind, render):
    tools = render(dependency_manager=kind) / "tools"
    for program in PROGRAMS[kind].glob("*.py"):
        assert (tools / program.name).read_bytes() == program.read_bytes()
    (other,) = HALVES.keys() - {kind}
    only_there = {p.name for p in HALVES[other].iterdir()} - {
        p.name for p in HALVES[kind].iterdir()
    }
    assert not any((tools / name).exists() for name in only_there)


def functions(program: Path) -> dict[str, str]:
    text = program.read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_both_base_images_read_elf_files_in_the_same_way():
    ours, theirs = (functions(folder / "find-libdeps") for folder in (DEBIAN, ALPINE))
    shared = {"Elf", "read_elf", "parse_elf", "unpack"}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
