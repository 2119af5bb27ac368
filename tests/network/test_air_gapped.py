"""A project and its wheels/ on a machine without network, and wheels/ that do not fit or are damaged."""

import json
import re
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import NOTEBOOK, run, some_slow

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


def test_a_cut_machine_reaches_neither_this_one_nor_any_other(machine):
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = ["python3", "-c", CONNECT, *map(str, server.getsockname())]
        machine.run(*connect, cwd=machine.home)
        refused = machine.run_cut(*connect, cwd=machine.home, fails=True)
    assert "ConnectionRefusedError" in refused.stderr
    outside = ["python3", "-c", CONNECT, "192.0.2.1", "443"]
    assert "unreachable" in machine.run_cut(*outside, cwd=machine.home, fails=True).stderr
    name = ["python3", "-c", CONNECT, "example.org", "443"]
    assert "gaierror" in machine.run_cut(*name, cwd=machine.home, fails=True).stderr


@pytest.mark.parametrize("kind", some_slow(["requirements", "uv"], "requirements"))
def test_setup_hooks_and_tests_need_nothing_but_the_wheels(kind, machine, collected):
    clone = carry(machine, collected(kind))
    machine.run_cut("make", "setup", cwd=clone)
    assert "docopt-0.6.2.dist-info" in installed(clone)

    notebook = json.loads((clone / NOTEBOOK).read_text())
    (cell, *_) = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cell["execution_count"] = 1
    (clone / NOTEBOOK).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    with (clone / "README.md").open("a") as file:
        file.write("\nIt has run.\n")
    commit = ["git", "commit", "--all", "--message", "Run it"]
    refused = machine.run_cut(*commit, cwd=clone, fails=True)
    assert f"{NOTEBOOK}: cleaned" in refused.stdout + refused.stderr
    machine.run_cut(*commit, cwd=clone)
    assert machine.run("git", "status", "--porcelain", cwd=clone).stdout == ""
    assert machine.run("git", "show", "--format=", "--name-only", cwd=clone).stdout == "README.md\n"

    machine.run_cut("make", "lint", cwd=clone)
    assert "4 passed" in machine.run_cut("make", "test", cwd=clone).stdout


def test_the_image_needs_nothing_but_the_wheels_either(machine, collected, engine):
    clone = carry(machine, collected("requirements"))
    with (clone / "project.mk").open("a") as file:
        file.write("IMAGE_FLAGS += --network none\n")
    machine.run_cut("make", "image", "IMAGE=network-air-gapped", cwd=clone)
    image = "network-air-gapped:runtime"
    run(engine, "run", "--rm", "--entrypoint", "python", image, "-c", "import docopt")
    run(engine, "rmi", image)


def test_wheels_for_another_python_are_no_obstacle(connected, collected):
    other = "{}.{}".format(*sys.version_info)
    if other == "3.13":
        pytest.skip("NOT TESTED: wheels for another Python, because this is the one they are for")
    clone = carry(connected, collected("requirements"))
    install = [sys.executable, "tools/packages.py", "install", "--python", other]
    connected.run(*install, cwd=clone)
    assert "docopt-0.6.2.dist-info" in installed(clone)


def test_wheels_for_another_system_are_no_obstacle(connected, collected):
    """Not even to pip, which installs uv before there is anything else."""
    clone = carry(connected, collected("requirements"))
    sums = clone / "wheels/SHA256SUMS"
    for wheel in list((clone / "wheels").glob("*linux*.whl")):
        renamed = re.sub(r"-[^-]*linux[^-]*\.whl", "-macosx_11_0_arm64.whl", wheel.name)
        wheel.rename(wheel.with_name(renamed))
        sums.write_text(sums.read_text().replace(wheel.name, renamed))
    connected.run("make", "setup", cwd=clone)
    assert "docopt-0.6.2.dist-info" in installed(clone)


@pytest.mark.parametrize("name", ["idna", "docopt"])
def test_a_damaged_wheel_is_refused(name, machine, collected):
    """Whether the lock has its hash, or `make wheels` has built it."""
    clone = carry(machine, collected("requirements"))
    (wheel,) = (clone / "wheels").glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"{name}.pth", "import os")
    refused = machine.run_cut("make", "setup", cwd=clone, fails=True)
    assert "hash" in refused.stderr.lower() and name in refused.stderr
    assert not {path for path in installed(clone) if path.startswith(f"{name}-")}


def carry(machine, collected: Path) -> Path:
    """Bring a clone and its wheels to the machine."""
    clone = machine.clone(collected, "a project")
    shutil.copytree(collected / "wheels", clone / "wheels")
    shutil.copy(collected / "project.mk", clone)
    (clone / ".git/info/exclude").write_text("project.mk\n")
    return clone


def installed(clone: Path) -> set[str]:
    (packages,) = (clone / ".venv/lib").glob("python*/site-packages")
    return {path.name for path in packages.glob("*.dist-info")}
