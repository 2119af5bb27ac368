"""A project with torch for the CPU, set up and used for real."""

import json

import pytest

from tests.support import NOTEBOOK, git, run

pytestmark = pytest.mark.xdist_group("projects")


@pytest.fixture(scope="module")
def project(projects):
    return projects("deep-learning")


def test_the_torch_of_the_lock_is_for_the_cpu_and_brings_no_cuda(project):
    code = "import torch; print(torch.__version__, torch.version.cuda)"
    assert run(".venv/bin/python", "-c", code, cwd=project).stdout == "2.13.0+cpu None\n"
    installed = [path.name for path in project.glob(".venv/lib/python*/site-packages/*")]
    assert not [name for name in installed if name.startswith(("nvidia", "triton", "cuda"))]


def test_the_tests_and_the_checks_of_the_project_pass(project):
    assert "5 passed" in run("make", "test", cwd=project).stdout
    run("make", "lint", cwd=project)
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.slow
def test_the_notebook_gives_the_same_numbers_twice(project):
    first, second = (outputs(project, name) for name in ("first", "second"))
    assert "Training on: cpu\n" in first
    assert any("of the test digits are read correctly" in text for text in first)
    assert first == second
    assert (project / "models/digits.safetensors").stat().st_size > 20_000


def outputs(project, name: str) -> list[str]:
    """Execute a copy of the notebook, and return what it printed but for the progress."""
    copy = project / f"notebooks/{name}.ipynb"
    copy.write_bytes((project / NOTEBOOK).read_bytes())
    run(".venv/bin/jupyter", "execute", "--inplace", copy, cwd=project)
    cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
    copy.unlink()
    found = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in found if output.get("name") == "stdout"]
