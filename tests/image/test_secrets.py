"""What a build is told about the network stays in no layer, no history and no configuration."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

CANARIES = {"netrc": b"canary-of-netrc", "pip": b"canary-of-pip-conf", "ca": b"canary-of-the-ca"}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A machine with a netrc, a pip.conf and a company's certificates, each with a canary in it."""
    (tmp_path / "pip.conf").write_text("[global]\ntimeout = 61\n# canary-of-pip-conf\n")
    (tmp_path / ".netrc").write_text("machine index.example login me password canary-of-netrc\n")
    authorities = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    (tmp_path / "ca.crt").write_text(authorities.read_text() + "# canary-of-the-ca\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path


def test_secrets_reach_the_build_and_nothing_else(home, clone, small_project, make, docker):
    project = clone(small_project)
    dockerfile = (project / "Dockerfile").read_text()
    # A proof that they arrive: the very step that installs packages looks for them.
    look = "grep -q canary /etc/pip.conf /root/.netrc && grep -q canary $SSL_CERT_FILE \\\n && "
    assert dockerfile.count("python -m venv --without-pip") == 1
    step = dockerfile.replace("python -m venv --without-pip", look + "python -m venv --without-pip")
    (project / "Dockerfile").write_text(step)
    # A cached step would prove nothing; the notebook's stages contain those of the production image.
    make(
        project,
        "image",
        "STAGE=notebook",
        "IMAGE=pinbook-secret",
        flags="--no-cache-filter build,build-notebook",
    )
    make(project, "image", "IMAGE=pinbook-secret")
    for image in ("pinbook-secret:notebook", "pinbook-secret:runtime"):
        docker("save", "--output", home / "image.tar", image)
        found = search(home / "image.tar")
        assert found == {}, found
        history = docker("history", "--no-trunc", image).stdout + docker("inspect", image).stdout
        assert "canary" not in history


def search(archive: Path) -> dict[str, str]:
    """Return which canary lies in which member of an image or of one of its layers."""
    found = {}
    with tarfile.open(archive) as image:
        for member in image:
            if member.isfile():
                content = image.extractfile(member).read()
                found |= {kind: member.name for kind, text in CANARIES.items() if text in content}
    return found


def test_the_search_finds_what_it_looks_for(home, docker):
    dockerfile = "FROM scratch\nCOPY .netrc /etc/\nENV PIP=canary-of-pip-conf\n"
    subprocess.run(
        ["docker", "build", "--tag", "pinbook-leak", "--file", "-", home],
        input=dockerfile, text=True, check=True, capture_output=True,
    )  # fmt: skip
    docker("save", "--output", home / "image.tar", "pinbook-leak")
    assert search(home / "image.tar").keys() == {"netrc", "pip"}


def test_an_index_from_the_environment_is_a_secret_too(clone, small_project, make, monkeypatch):
    project = clone(small_project)
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:canary@index.invalid/simple/")
    result = make(project, "image", flags="--no-cache-filter build --progress plain", check=False)
    assert result.returncode != 0
    assert "index.invalid" in result.stdout
    assert "canary" not in result.stdout


def test_a_remote_with_a_password_is_labelled_without_it(clone, small_project, make):
    project = clone(small_project)
    url = "https://me:canary@example.org/me/project.git"
    subprocess.run(["git", "-C", project, "remote", "set-url", "origin", url], check=True)
    printed = make(project, "--dry-run", "image").stdout
    assert "source=https://example.org/me/project.git" in printed
    assert "canary" not in printed
