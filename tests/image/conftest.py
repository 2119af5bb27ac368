"""Images of generated projects, each built once, and containers of them."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import commit_all

STAND_IN = "localhost/python:3.13-alpine"
WITH_PACKAGES = f"{STAND_IN}-with-packages"
# What an engine on a busy machine says now and then, before it has run anything.
LOST = "unable to start container process: waiting for init preliminary setup"


@pytest.fixture(scope="session")
def docker(engine):
    """Run a command of the engine and return the result; it has to succeed unless check=False."""

    def run(*arguments, check=True) -> subprocess.CompletedProcess:
        result = subprocess.run(
            [engine, *map(str, arguments)], check=False, capture_output=True, text=True
        )
        assert result.returncode == 0 or not check, result.stderr[-3000:]
        return result

    yield run
    # Gigabytes otherwise. What is left is the engine's cache, which makes the next run faster.
    names = [f"--filter=reference={host}pinbook-*" for host in ("", "localhost/")]
    made = run("image", "ls", "--quiet", *names).stdout.split()
    run("image", "rm", "--force", *made, check=False)
    run("volume", "rm", "pinbook-test-cache", check=False)
    run("image", "prune", "--force", "--filter", "label=lock.sha256", check=False)


@pytest.fixture(scope="session")
def alpine_base(docker) -> str:
    """The stand-in for Alpine's image, or nothing where none is here: the pinned one is pulled then.

    The stand-in reaches no mirror, so it gets a small repository of its own.
    """
    if docker("image", "inspect", STAND_IN, check=False).returncode:
        return ""
    docker("build", "--quiet", "--tag", WITH_PACKAGES, Path(__file__).parent / "alpine_base")
    return WITH_PACKAGES


@pytest.fixture(scope="session")
def make(engine, local_base, alpine_base):
    """Run make in a project."""

    def run(
        project: Path, *targets: str, flags: str = "", check=True
    ) -> subprocess.CompletedProcess:
        dockerfile = (project / "Dockerfile").read_text()
        base = local_base("3.11" if "python:3.11" in dockerfile else "3.13")
        if base := alpine_base if "apk-install" in dockerfile else base:
            flags = f"--build-arg PYTHON_IMAGE={base} {flags}"
        command = ["make", *targets, f"ENGINE={engine}", f"IMAGE_FLAGS={flags}"]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        result = subprocess.run(command, cwd=project, check=False, **both)
        if LOST in result.stdout:
            result = subprocess.run(command, cwd=project, check=False, **both)
        assert result.returncode == 0 or not check, result.stdout[-5000:]
        return result

    return run


@pytest.fixture(scope="session")
def create(render):
    """Make a committed project with a name of its own."""

    def create(name: str, **answers) -> Path:
        project = render(project_name=name, **answers)
        commit_all(project)
        return project

    return create


@pytest.fixture(scope="session")
def project(create) -> Path:
    return create("Pinbook test")


@pytest.fixture(scope="session")
def runtime(project, make) -> str:
    """The production image of the default project."""
    make(project, "image")
    return "pinbook-test:runtime"


@pytest.fixture(scope="session")
def notebook(project, make) -> str:
    make(project, "image", "STAGE=notebook")
    return "pinbook-test:notebook"


@pytest.fixture(scope="session")
def small_project(create) -> Path:
    """A project that builds fast, for what has to be built again and again."""
    return create("Pinbook small", stack="minimal")


@pytest.fixture(scope="session")
def small_projects(create, small_project) -> dict[str, Path]:
    """The same with each kind of lock."""
    uv = create("Pinbook uv", stack="minimal", dependency_manager="uv")
    return {"requirements": small_project, "uv": uv}


@pytest.fixture(params=["requirements", "uv"])
def either_project(request, small_projects) -> Path:
    return small_projects[request.param]


@pytest.fixture(scope="session")
def uv_runtime(small_projects, make) -> str:
    """The production image of a project with uv.lock, where uv knows no index but that of the lock."""
    make(small_projects["uv"], "image", flags="--no-cache-filter wheels-runtime")
    return "pinbook-uv:runtime"


@pytest.fixture(scope="session")
def alpine_project(create) -> Path:
    return create("Pinbook alpine", stack="minimal", base_image="alpine")


@pytest.fixture(scope="session")
def alpine_runtime(alpine_project, make) -> str:
    make(alpine_project, "image")
    return "pinbook-alpine:runtime"


@pytest.fixture(scope="session")
def alpine_notebook(alpine_project, make) -> str:
    make(alpine_project, "image", "STAGE=notebook")
    return "pinbook-alpine:notebook"


@pytest.fixture
def layers(docker):
    """Return the digests of the layers of an image."""

    def layers(image: str) -> list[str]:
        found = docker("inspect", "--format", "{{json .RootFS.Layers}}", image.strip()).stdout
        return json.loads(found)

    return layers


@pytest.fixture
def clone(tmp_path):
    """Copy a project to change it."""

    def clone(project: Path, name: str = "clone") -> Path:
        subprocess.run(["git", "clone", "--quiet", project, tmp_path / name], check=True)
        return tmp_path / name

    return clone


@pytest.fixture
def mount(mountable):
    """An empty folder to mount into a container."""
    folder = mountable / "mount"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(docker, engine, local_base, project, notebook, mount):
    """Run make in a committed project that the engine can mount, and whose owner is not root."""
    if docker("compose", "version", check=False).returncode != 0:
        pytest.skip("NOT TESTED: make up, because the engine has no compose command")
    folder = mount / "project"
    shutil.copytree(project, folder)
    subprocess.run(["chown", "-R", "4321:4321", folder], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    flags = f"--build-arg PYTHON_IMAGE={base}" if (base := local_base()) else ""
    settings = {"ENGINE": engine, "IMAGE_FLAGS": flags, "PORT": port}

    def make(*arguments: str, fails=False, **variables) -> subprocess.CompletedProcess:
        result = subprocess.run(
            ["make", *arguments],
            cwd=folder,
            env=os.environ | settings | variables,
            check=False,
            capture_output=True,
            text=True,
        )
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    make.folder, make.port, make.settings = folder, port, settings
    yield make
    make("down")
