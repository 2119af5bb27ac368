"""The commands of a project that need an engine, and the services of compose.yaml."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import yaml

from tests.image.test_matrix import wait_for
from tests.support import git, run


def test_the_image_and_the_laptop_make_the_same_lock(clone, either_project, make):
    image, laptop = clone(either_project, "image"), clone(either_project, "laptop")
    # The locks of the template were made on a laptop.
    make(image, "lock", flags="--no-cache-filter locking")
    assert git(image, "status", "--short") == ""

    for project in (image, laptop):
        if (project / "uv.lock").exists():
            asked = project / "pyproject.toml"
            asked.write_text(asked.read_text().replace('"numpy",', '"numpy", "tomlkit",'))
        else:
            with (project / "requirements.in").open("a") as file:
                file.write("tomlkit\n")
    make(image, "lock")
    run(sys.executable, "tools/packages.py", "lock", cwd=laptop)
    assert git(image, "diff") == git(laptop, "diff")
    # Only the comments that say why a package is there change.
    removed = re.findall("^-(?!-)(.*)", git(image, "diff"), re.MULTILINE)
    assert [line for line in removed if "sha256" in line or "==" in line] == []
    assert "tomlkit" in git(image, "diff", "--", "uv.lock", "requirements.txt")


def test_run_is_strict_and_passes_arguments_on(project, make):
    printed = make(project, "run", "ARGS=--days 800 --seed 1").stdout
    assert "°C warmer in summer" in printed
    assert "at least 365 days" in make(project, "run", "ARGS=--days 3", check=False).stdout


def test_sizes_are_listed_largest_first(project, runtime, make):
    lines = make(project, "sizes").stdout.splitlines()
    sizes = [line.split("\t") for line in lines if "\t/" in line]
    units = {"K": 1, "M": 1024, "G": 1024**2}
    numbers = [float(size[:-1]) * units[size[-1]] for size, _ in sizes]
    assert numbers == sorted(numbers, reverse=True)
    assert any(path.endswith("site-packages/pandas") for _, path in sizes)


@pytest.mark.parametrize(
    ("step", "same"), [("true", True), ("cp /proc/sys/kernel/random/uuid /", False)]
)
def test_reproduce_tells_whether_two_builds_are_the_same(clone, small_project, make, step, same):
    project = clone(small_project)
    dockerfile = f"ARG PYTHON_IMAGE\nFROM ${{PYTHON_IMAGE}} AS runtime\nRUN {step}\n"
    (project / "Dockerfile").write_text(dockerfile)
    result = make(project, "reproduce", check=False)
    assert (result.returncode == 0) == same
    assert ("The same image: sha256:" in result.stdout) == same


@pytest.fixture
def compose(docker, engine, project, notebook, mount):
    """Run docker compose in a project that the engine can mount, as its owner."""
    if docker("compose", "version", check=False).returncode != 0:
        pytest.skip("NOT TESTED: compose.yaml, because the engine has no compose command")
    shutil.copytree(project, mount / "project")
    (mount / "project/.env").write_text("HF_TOKEN=of-ada\n")
    subprocess.run(["chown", "-R", "4321:4321", mount], check=True)
    environment = {**os.environ, "UID": "4321", "GID": "4321", "JUPYTER_TOKEN": "letmein"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        environment["PORT"] = str(free.getsockname()[1])

    def run(*arguments: str) -> str:
        command = [engine, "compose", "--project-directory", mount / "project", *arguments]
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    yield run
    run("down", "--volumes")


def test_the_notebook_service_is_local_and_writes_your_files(compose, docker, mount):
    compose("up", "--detach", "--no-build", "notebook")
    container = compose("ps", "--quiet", "notebook").strip()
    wait_for(docker, container, "is running at")
    api = "http://127.0.0.1:8888/api/contents"
    ask = f"import urllib.request; print(urllib.request.urlopen('{api}?token=letmein').read().decode())"
    listing = json.loads(docker("exec", container, "python", "-c", ask).stdout)
    assert "notebooks" in {entry["name"] for entry in listing["content"]}
    refused = docker(
        "exec", container, "python", "-c", ask.replace("letmein", "guess"), check=False
    )
    assert "HTTP Error 403" in refused.stderr

    assert docker("exec", container, "printenv", "HF_TOKEN").stdout == "of-ada\n"
    docker("exec", container, "touch", "/project/notebooks/new.ipynb")
    new = (mount / "project/notebooks/new.ipynb").stat()
    assert (new.st_uid, new.st_gid) == (4321, 4321)
    # The mounted code is the one that is imported, so that an edit counts.
    where = ["python", "-c", "import pinbook_test; print(pinbook_test.__file__)"]
    assert docker("exec", container, *where).stdout == "/project/src/pinbook_test/__init__.py\n"

    host = json.loads(docker("inspect", "--format", "{{json .HostConfig}}", container).stdout)
    [binding] = host["PortBindings"]["8888/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    assert host["ReadonlyRootfs"] and host["Init"] and host["ShmSize"] == 2**30
    assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges"]


def test_the_app_service_runs_as_strictly(compose, runtime):
    assert "°C warmer in summer" in compose("run", "--rm", "app")
    service = yaml.safe_load(compose("config"))["services"]["app"]
    assert service["read_only"] and service["init"] and service["cap_drop"] == ["ALL"]
