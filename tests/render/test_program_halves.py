"""The programs of tools/: a project gets those for its kind of lock, and no other."""

import pytest

from tests.support import HALVES, PROGRAMS


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
