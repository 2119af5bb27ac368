"""The Dockerfile as other tools see it: a linter, buildah, another Debian and Python."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_hadolint_has_nothing_to_say(either_project):
    beside = str(Path(sys.executable).parent)
    hadolint = shutil.which("hadolint", path=beside) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("NOT TESTED: the style of the Dockerfile, because hadolint is not installed")
    result = subprocess.run(
        [hadolint, either_project / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_the_base_image_is_named_once_with_its_digest(project):
    dockerfile = (project / "Dockerfile").read_text()
    pinned = re.findall(
        r"^FROM (docker\.io/library/python:3\.13\S*@sha256:[0-9a-f]{64}) AS pinned$",
        dockerfile,
        re.MULTILINE,
    )
    assert len(pinned) == 1
    everything = "".join(
        path.read_text(errors="replace")
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.parts
    )
    assert everything.count(pinned[0].split("@")[1]) == 1


def test_older_builders_can_parse_it(either_project):
    dockerfile = (either_project / "Dockerfile").read_text()
    for newer in ("<<", "# syntax", "--parents", "--exclude", "\nSHELL", "--link", "COPY --chmod"):
        assert newer not in dockerfile


@pytest.mark.parametrize("python_version", ["3.11"])
def test_another_python_passes_too(create, make, docker, python_version):
    """Its local base is of another Debian, too."""
    project = create("Pinbook older", stack="minimal", python_version=python_version)
    make(project, "image")
    strict = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "123456:654321"]
    assert "°C warmer in summer" in docker("run", "--rm", *strict, "pinbook-older:runtime").stdout
    ask = ["--entrypoint", "python", "pinbook-older:runtime", "--version"]
    assert docker("run", "--rm", *strict, *ask).stdout.startswith(f"Python {python_version}.")


@pytest.mark.slow
@pytest.mark.parametrize("base_image", ["debian", "alpine"])
def test_buildah_builds_the_same_file(
    base_image, small_projects, alpine_project, docker, local_base, alpine_base, tmp_path_factory
):
    """Its own storage, and runc: crun of Debian 12 refuses machines with both kinds of cgroups."""
    if not (shutil.which("buildah") and shutil.which("runc")):
        pytest.skip("NOT TESTED: podman's builder, because buildah or runc is not installed")
    base = local_base() if base_image == "debian" else alpine_base
    if not base:
        pytest.skip("NOT TESTED: podman's builder, because no local base is here to give to it")
    store = tmp_path_factory.mktemp("buildah")
    image = "pinbook-buildah"
    docker("save", "--output", store / "base.tar", base)
    buildah = [
        "buildah",
        "--storage-driver",
        "vfs",
        "--root",
        store / "root",
        "--runroot",
        store / "run",
    ]

    def run(*command) -> str:
        result = subprocess.run([*buildah, *command], check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    try:
        run("pull", f"docker-archive:{store / 'base.tar'}")
        (store / "base.tar").unlink()
        build = ["bud", "--runtime", "runc", "--layers=false", "--timestamp", "1"]
        build += ["--secret", "id=ca-bundle,src=/etc/ssl/certs/ca-certificates.crt"]
        build += ["--build-arg", f"PYTHON_IMAGE={base}", "--tag", image]
        if base_image == "alpine":
            run(*build, alpine_project)
        else:
            # With uv.lock, these are the stages with other mounts.
            run(*build, "--target", "packages", small_projects["uv"])
            run(*build, small_projects["requirements"])
        run("push", image, f"docker-archive:{store / 'built.tar'}:{image}:runtime")
        docker("load", "--input", store / "built.tar")
    finally:
        shutil.rmtree(store)
    strict = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "123456:654321"]
    assert "°C warmer in summer" in docker("run", "--rm", *strict, f"{image}:runtime").stdout
