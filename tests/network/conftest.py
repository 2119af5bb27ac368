"""Machines with next to nothing, and projects with the wheels that they need."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.network.bare_machine import Machine
from tests.support import BIN, PROGRAMS, commit_all, run


@pytest.fixture(scope="session")
def python(clean_environment, tmp_path_factory) -> str:
    """The Python of the image, on this machine, as `make setup` finds it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.11"\n')
    create = "import machine; machine.create_venv('3.13')"
    tools = {**os.environ, "PYTHONPATH": str(PROGRAMS["requirements"])}
    run(sys.executable, "-B", "-c", create, cwd=folder, env=tools)
    found = os.path.realpath(folder / ".venv/bin/python")
    if "3.13" not in run(found, "--version").stdout:
        pytest.skip("NOT TESTED: wheels on a laptop, because there is no Python 3.13")
    return found


@pytest.fixture
def machine(python, tmp_path):
    """A machine that is thrown away: what it installs takes a lot of space."""
    yield Machine(tmp_path, python)
    for path in tmp_path.iterdir():
        shutil.rmtree(path)


@pytest.fixture
def connected(machine) -> Machine:
    """The same with the network, the settings and the caches of this machine."""
    names = "PIP_", "UV_", "PRE_COMMIT_", "SSL_", "REQUESTS_", "HTTP", "NO_PROXY"
    machine.variables |= {n: v for n, v in os.environ.items() if n.upper().startswith(names)}
    return machine


@pytest.fixture(scope="session")
def engine_settings(engine, local_base) -> str:
    """Lines for project.mk."""
    lines = [f"ENGINE := {shutil.which(engine)}"]
    if base := local_base():
        lines.append(f"IMAGE_FLAGS += --build-arg PYTHON_IMAGE={base}")
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="session")
def plain(render):
    """Return a committed project of a kind, as it was rendered."""
    made = {}

    def plain(kind: str) -> Path:
        if kind not in made:
            answers = {"stack": "minimal", "dependency_manager": kind}
            made[kind] = render(project_name=f"Network {kind}", **answers)
            commit_all(made[kind])
        return made[kind]

    return plain


@pytest.fixture(scope="session")
def collected(plain, engine_settings, tmp_path_factory):
    """Return a project of a kind with its wheels/; the public index has no wheel of one package."""
    made = {}

    def collected(kind: str) -> Path:
        if kind not in made:
            project = made[kind] = tmp_path_factory.mktemp("collected") / kind
            run("git", "clone", "--quiet", plain(kind), project)
            if kind == "uv":
                run(BIN / "uv", "add", "--quiet", "--no-sync", "docopt", cwd=project)
            else:
                with (project / "requirements.in").open("a") as file:
                    file.write("docopt\n")
            run(sys.executable, "tools/packages.py", "lock", cwd=project)
            commit_all(project, "Ask for docopt")
            (project / "project.mk").write_text(engine_settings)
            run("make", "wheels", cwd=project)
        return made[kind]

    return collected
