"""What a person reads stays short: counted in rendered projects, and printed with `pytest -s`."""

import ast
import re
from pathlib import Path

import pytest

from tests.support import ROOT

# What the projects have now. A change that shortens something lowers its limit. Only what a person has
# asked for raises one: `make sbom`, `verify` and `doctor` brought 268 lines, ten lines of make, four files;
# JOBS and NETWORK of `make job`, and what it keeps when the disk is full, 60 lines and two lines of make.
PROGRAM_LINES = {"requirements": 2752, "uv": 2557}
LONGEST_PROGRAM = 350
LINES = {"Makefile": 112, ".pre-commit-config.yaml": 70}
FILES = 45
RIDDLE = re.compile(r"^\s*# (It|This|Then|Where|There|So|They|That)\b")


def programs(project: Path) -> list[Path]:
    return sorted(
        path
        for folder in ("tools", "docker")
        for path in (project / folder).iterdir()
        if path.suffix not in (".md", ".txt")
    )


def count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.fixture(params=["requirements", "uv"])
def project(request, render) -> Path:
    return render(dependency_manager=request.param)


def test_the_programs_of_a_project_are_short(project):
    lines = {path.relative_to(project).as_posix(): count(path) for path in programs(project)}
    print(*(f"{number:5} {name}" for name, number in lines.items()), sep="\n")
    print(f"{sum(lines.values()):5} lines of programs")
    kind = "uv" if (project / "uv.lock").exists() else "requirements"
    assert max(lines.values()) <= LONGEST_PROGRAM
    assert sum(lines.values()) <= PROGRAM_LINES[kind]


def test_a_project_has_few_files_and_short_ones(project):
    files = [path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts]
    print(f"{len(files):5} files")
    assert len(files) <= FILES
    for name, limit in LINES.items():
        assert count(project / name) <= limit, name
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    assert max(map(len, makefile.splitlines())) <= 110


def test_a_cluster_adds_few_lines_to_the_makefile(project, render):
    """Its two targets have four lines each at most."""
    manager = "uv" if (project / "uv.lock").exists() else "requirements"
    with_cluster = render(cluster="dask", dependency_manager=manager)
    assert count(with_cluster / "Makefile") <= count(project / "Makefile") + 8
    assert count(with_cluster / "docker/cluster") <= 80
    test_comments_start_with_their_subject(with_cluster)


def test_the_questions_are_short():
    assert count(ROOT / "copier.yml") <= 150


def test_no_function_of_a_program_is_longer_than_40_lines(project):
    for path in programs(project):
        if "python" not in path.read_text(encoding="utf-8")[:30] and path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path.name}: {node.name}"


def test_comments_start_with_their_subject(project):
    texts = [*programs(project), *(project / name for name in ("Dockerfile", "Makefile", *LINES))]
    for path in texts:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not RIDDLE.match(line), f"{path.name}: {line}"


def test_names_of_tests_are_short():
    for path in (ROOT / "tests").rglob("test_*.py"):
        names = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(len(name) <= 60 for name in names), max(names, key=len)
