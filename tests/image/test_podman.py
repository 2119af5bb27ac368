"""The image as podman builds and runs it, beside whatever engine the other tests use."""

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import commit_all, git

# What a machine with both kinds of cgroups needs; crun refuses it, and nobody there may raise a limit.
HYBRID = """[containers]
default_ulimits = ["nofile={0}:{0}", "nproc=30000:30000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
STRICT = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"]
OLDER = "packaging==24.2 --hash=sha256:09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759\n"


@pytest.fixture(scope="module")
def podman(docker, local_base, tmp_path_factory):
    """Run podman with a storage of its own that has the base; return what it prints."""
    base = local_base()
    if not shutil.which("podman"):
        pytest.skip("NOT TESTED: podman, because it is not installed")
    if not base:
        pytest.skip("NOT TESTED: podman beside Docker, because no local base is here to give to it")
    folder = tmp_path_factory.mktemp("podman")
    storage = (
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    (folder / "storage.conf").write_text(storage)
    settings = {"CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"), "ENGINE": "podman"}
    settings |= {"IMAGE_FLAGS": f"--build-arg PYTHON_IMAGE={base}"}
    if Path("/sys/fs/cgroup/unified").exists():
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        (folder / "containers.conf").write_text(HYBRID.format(limit))
        settings["CONTAINERS_CONF"] = str(folder / "containers.conf")

    def run(*command, **more) -> str:
        environment = os.environ | settings
        both = {"capture_output": True, "text": True}
        result = subprocess.run(command, check=False, env=environment, **both, **more)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        return result.stdout

    docker("save", "--output", folder / "base.tar", base)
    run("podman", "load", "--quiet", "--input", folder / "base.tar")
    yield run
    run("podman", "system", "reset", "--force")


@pytest.fixture(scope="module")
def image(podman, small_project) -> str:
    podman("make", "image", cwd=small_project)
    return "localhost/pinbook-small:runtime"


def test_the_image_of_podman_runs_as_any_user(podman, image):
    run = ["podman", "run", "--rm", *STRICT, "--user", "123456:654321"]
    assert "°C warmer in summer" in podman(*run, image)
    # podman 4.3 deleted this file where a certificate came along as a secret.
    certificates = ["--entrypoint", "ls", image, "/etc/ssl/certs/ca-certificates.crt"]
    assert podman(*run, *certificates)


def test_doctor_names_the_version_of_podman(podman, small_project):
    printed = podman("python3", "tools/doctor.py", cwd=small_project)
    version = podman("podman", "--version").split()[-1]
    assert f"engine: client {version}" in printed


def test_make_up_says_what_podman_lacks(podman, small_project):
    compose = ["podman", "compose", "version"]
    if subprocess.run(compose, check=False, capture_output=True).returncode == 0:
        pytest.skip("NOT TESTED: the sentence about podman compose, because it is here")
    said = podman("sh", "-c", "! docker/notebook up 2>&1", cwd=small_project)
    assert "There is no 'podman compose': install Docker Compose 2.24, or podman 4.7" in said


@pytest.mark.slow
def test_a_lock_gives_one_image_whatever_is_in_podmans_cache(podman, image, clone, small_project):
    """Its cache looks neither at what a step mounts nor at the commit that filled it."""
    project = clone(small_project)
    name = ["IMAGE=pinbook-other", "image"]
    first = podman("podman", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image)

    def built() -> tuple[str, list]:
        podman("make", *name, cwd=project)
        about = json.loads(podman("podman", "image", "inspect", "pinbook-other:runtime"))[0]
        ask = ["--entrypoint", "python", "pinbook-other:runtime", "-c"]
        listed = "import importlib.metadata as m; print(len(list(m.distributions())))"
        return podman("podman", "run", "--rm", *STRICT, *ask, listed).strip(), about["RootFS"][
            "Layers"
        ]

    count, layers = built()
    assert layers == json.loads(first)
    (project / "requirements.in").write_text("packaging\n")
    (project / "requirements.txt").write_text(OLDER)
    commit_all(project, "Another lock")
    assert built()[0] == "1"
    git(project, "revert", "--no-edit", "HEAD")
    assert built() == (count, layers)
    assert built() == (count, layers), "the cache gives another image"
