"""What is published can be listed, attested and built again: the steps of CI, with a registry on loopback."""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import git, run

REVISION = "org.opencontainers.image.revision"
CONFIG = """version: 0.1
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:%s"}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """The address of an empty registry."""
    if not shutil.which("docker-registry"):
        pytest.skip("NOT TESTED: publishing and `make verify`, because docker-registry is missing")
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG % (folder / "data", port))
    with (folder / "log").open("w") as log:
        command = ["docker-registry", "serve", folder / "config.yml"]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            continue
    yield f"localhost:{port}"
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def settings(local_base) -> dict[str, str]:
    """The environment of a runner that has the base image already."""
    flags = f"--build-arg PYTHON_IMAGE={base}" if (base := local_base()) else ""
    return os.environ | {"IMAGE_FLAGS": flags}


@pytest.fixture(scope="module")
def published(registry, small_project, settings, docker, tmp_path_factory) -> tuple[Path, str]:
    """A fresh clone whose image the steps of CI have published, and that image by its digest."""
    clone = tmp_path_factory.mktemp("published") / "clone"
    run("git", "clone", "--quiet", small_project, clone)
    job = yaml.safe_load((clone / ".github/workflows/ci.yml").read_text())["jobs"]["publish"]
    assert job["env"] == {"NAME": "ghcr.io/${{ github.repository }}"}
    runner = {
        "NAME": f"{registry}/Ada/small",
        "GITHUB_SHA": git(clone, "rev-parse", "HEAD").strip(),
    }
    runner |= {"GITHUB_OUTPUT": "build/output", "GITHUB_STEP_SUMMARY": "build/summary"}
    runner |= {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}
    for step in job["steps"]:
        # This registry asks for no password.
        if "run" in step and "docker login" not in step["run"]:
            bash = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
            run(*bash, cwd=clone, env=settings | runner)
    output = dict(line.split("=", 1) for line in (clone / "build/output").read_text().splitlines())
    image = f"{output['name']}@{output['digest']}"
    assert f"make verify IMAGE={image}" in (clone / "build/summary").read_text()
    yield clone, image
    docker("image", "rm", "--force", image, check=False)
    for name in (f"{output['name']}:{runner['GITHUB_SHA']}", f"{registry}/bare"):
        docker("image", "rm", "--force", name, check=False)


@pytest.fixture
def changed(published, docker, tmp_path):
    """Publish the image again with another first byte in one file of its last layer."""
    _, image = published
    docker("save", "--output", tmp_path / "image.tar", image)
    with tarfile.open(tmp_path / "image.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())[0]
    config = json.loads((tmp_path / manifest["Config"]).read_bytes())
    layer = (tmp_path / manifest["Layers"][-1]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        file = next(one for one in files if one.name.endswith("seasons.py"))
    layer = layer[: file.offset_data] + b"#" + layer[file.offset_data + 1 :]
    config["rootfs"]["diff_ids"][-1] = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    name = image.split("@")[0]
    manifest["RepoTags"], manifest["Config"] = [f"{name}:changed"], "config.json"
    manifest["Layers"][-1] = "changed.tar"
    (tmp_path / "changed.tar").write_bytes(layer)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "manifest.json").write_text(json.dumps([manifest]))
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        for path in ["manifest.json", "config.json", *manifest["Layers"]]:
            archive.add(tmp_path / path, path)
    docker("load", "--input", tmp_path / "other.tar")
    docker("push", f"{name}:changed")
    digests = docker("inspect", "--format", '{{join .RepoDigests "\\n"}}', f"{name}:changed").stdout
    yield next(one for one in digests.splitlines() if one.startswith(f"{name}@"))
    docker("image", "rm", "--force", f"{name}:changed")


def test_a_published_image_can_be_built_again(published, settings, docker, clone):
    project, image = published
    docker("image", "rm", "--force", image)
    # Another clone, which knows the repository by another address.
    other = clone(project)
    git(other, "remote", "set-url", "origin", "https://example.org/ada/small")
    printed = run("make", "verify", f"IMAGE={image}", cwd=other, env=settings).stdout
    assert printed.splitlines()[-1] == f"The same image: {image}"


def test_one_byte_in_one_layer_is_found_and_named(published, changed, settings):
    clone, _ = published
    result = run("make", "verify", f"IMAGE={changed}", cwd=clone, env=settings, fails=True)
    assert re.search(
        r"Layer \d+ differs, first in /?app/pinbook_small/seasons\.py\.", result.stderr
    )


def test_an_image_without_a_commit_or_a_digest_is_refused(published, settings, docker, registry):
    clone, image = published
    result = run("make", "verify", "IMAGE=small:latest", cwd=clone, env=settings, fails=True)
    assert "Name an image by its digest" in result.stderr
    base = f"FROM {image}\nLABEL {REVISION}=x-dirty\n"
    run("docker", "build", "--tag", f"{registry}/bare", "-", input=base)
    docker("push", f"{registry}/bare")
    bare = docker(
        "inspect", "--format", "{{index .RepoDigests 0}}", f"{registry}/bare"
    ).stdout.strip()
    result = run("make", "verify", f"IMAGE={bare}", cwd=clone, env=settings, fails=True)
    assert "No commit has all files of this image" in result.stderr


def test_ci_refuses_an_image_that_runs_as_root(published, settings):
    clone, image = published
    jobs = yaml.safe_load((clone / ".github/workflows/ci.yml").read_text())["jobs"]
    for job in ("image", "publish"):
        (step,) = [one["run"] for one in jobs[job]["steps"] if "root" in one.get("name", "")]
        for user, fails in {"0:0": True, "root": True, "": True, "1001:0": False}.items():
            base = f"FROM {image}\nUSER {user}\n" if user else "FROM scratch\nLABEL a=b\n"
            run("docker", "build", "--tag", "pinbook-root", "-", input=base)
            command = step.replace("pinbook-small:runtime", "pinbook-root")
            run("bash", "-e", "-o", "pipefail", "-c", command, env=settings, fails=fails)


def test_the_sbom_is_valid_complete_and_always_the_same(published, settings, docker):
    clone, image = published
    text = (clone / "build/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {one["purl"].split("?")[0]: one for one in json.loads(text)["components"]}
    strict = ["run", "--rm", "--network", "none", "--entrypoint"]
    listing = "ls -d /venv/lib/python*/site-packages/*.dist-info"
    folders = docker(*strict, "sh", image, "-c", listing).stdout.split()
    pins = [Path(one).name.removesuffix(".dist-info").split("-") for one in folders]
    python = {f"pkg:pypi/{name.lower().replace('_', '-')}@{version}" for name, version in pins}
    assert {purl for purl in found if "pypi" in purl} == python
    assert all(found[purl]["hashes"] for purl in python)
    query = ["dpkg-query", image, "--show", "--showformat", "${Package} ${Version}\\n"]
    debian = {tuple(line.split()) for line in docker(*strict, *query).stdout.splitlines()}
    listed = {(one["name"], one["version"]) for purl, one in found.items() if "/debian/" in purl}
    assert listed == debian
    printed = run("make", "sbom", cwd=clone, env=settings).stdout
    others = len(found) - len(python)
    assert f"sbom.cdx.json: {len(python)} Python packages, and {others} others\n" in printed
    assert (clone / "build/sbom.cdx.json").read_text() == text
    program = ["python3", "tools/sbom.py", "no-such-image", "build/other.json"]
    said = run(*program, cwd=clone, fails=True).stderr
    assert "`docker image inspect --format ...` ended with 1.\n" in said
    assert "Traceback" not in said
    assert not (clone / "build/other.json").exists()
