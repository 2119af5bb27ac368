"""The programs for the two kinds of lock: what both need is the same text in both."""

import ast

import pytest

from tests.support import PROGRAMS

# What a kind of lock does in its own way.
OWN = {
    "packages.py": {
        *("install_locked", "lock", "part_of_lock", "uv_pin", "compare", "pinned_files"),
        *("upgrade", "audit", "state", "collect", "oldest_python", "write_uv_lock"),
    },
    "lockcheck.py": {
        *("check_files", "check_sources", "check_locks", "check_python", "check_hashes", "load"),
    },
}


def functions(kind: str, name: str) -> dict[str, str]:
    text = (PROGRAMS[kind] / name).read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("name", OWN)
def test_functions_of_both_kinds_of_lock_are_the_same(name):
    ours, theirs = (functions(kind, name) for kind in PROGRAMS)
    shared = ours.keys() & theirs.keys() - OWN[name]
    assert len(shared) > 4
    assert {n: ours[n] for n in shared} == {n: theirs[n] for n in shared}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_project_gets_only_the_programs_of_its_kind(kind, render):
    tools = render(dependency_manager=kind) / "tools"
    for program in PROGRAMS[kind].glob("*.py"):
        assert (tools / program.name).read_bytes() == program.read_bytes()
