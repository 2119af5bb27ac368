"""What a build is told about the network stays in no layer, no history and no configuration."""

import base64
import os
import re
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support import ROOT, run

CANARIES = {"netrc": b"canary-of-netrc", "pip": b"canary-of-pip-conf", "ca": b"canary-of-the-ca"}


class PrivateIndex(BaseHTTPRequestHandler):
    """An index that wants a password, and then sends you to the one that everybody knows."""

    def do_GET(self):
        login = base64.b64encode(b"me:canary-of-netrc").decode()
        if self.headers["Authorization"] == f"Basic {login}":
            self.server.asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", self.server.public + self.path)
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def index():
    known = (ROOT / "locks/minimal/uv/uv.lock").read_text()
    with ThreadingHTTPServer(("127.0.0.1", 0), PrivateIndex) as server:
        server.public = re.search(r'registry = "(.+)/simple"', known)[1]
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch, index) -> Path:
    """A machine with a netrc, a pip.conf and a company's certificates, each with a canary in it."""
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = http://127.0.0.1:{index.server_port}/simple\n"
        "require-virtualenv = true\n# canary-of-pip-conf\n"
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary-of-netrc\n")
    authorities = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    (tmp_path / "ca.crt").write_text(authorities.read_text() + "# canary-of-the-ca\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path


@pytest.fixture
def lean_project(clone, either_project) -> Path:
    """A project with few development packages, so that the stages of the notebook are built fast."""
    project = clone(either_project)
    if (project / "uv.lock").exists():
        asked = project / "pyproject.toml"
        few = 'dev = ["iniconfig", "uv"]'
        asked.write_text(re.sub(r"dev = \[[^]]*]", few, asked.read_text()))
    else:
        (project / "dev-requirements.in").write_text("-c requirements.txt\niniconfig\nuv\n")
    run(sys.executable, "tools/packages.py", "lock", cwd=project)
    return project


def test_secrets_reach_the_build_and_nothing_else(
    lean_project, uv_runtime, home, index, make, docker, layers
):
    connect = f"import socket; socket.create_connection(('127.0.0.1', {index.server_port}))"
    probe = ["--network", "host", "--entrypoint", "python", uv_runtime, "-c", connect]
    if docker("run", "--rm", *probe, check=False).returncode != 0:
        pytest.skip("NOT TESTED: secrets of a build, because the engine is on another machine")
    project = lean_project
    dockerfile = (project / "Dockerfile").read_text()
    # A proof that the certificates arrive; without the others the index gives nothing.
    look = "grep -q canary $SSL_CERT_FILE \\\n && "
    collect = "python tools/packages.py collect run"
    assert dockerfile.count(collect) == 1
    step = dockerfile.replace(collect, look + collect)
    (project / "Dockerfile").write_text(step)
    # A cached step would prove nothing; the notebook's stages contain those of the production image.
    fresh = "--no-cache-filter uv,wheels-runtime,wheels-notebook --network host"
    make(project, "image", "STAGE=notebook", "IMAGE=pinbook-secret", flags=fresh)
    make(project, "image", "IMAGE=pinbook-secret", flags="--network host")
    assert {"/simple/numpy/", "/simple/iniconfig/"} <= set(index.asked)
    images = ["pinbook-secret:notebook", "pinbook-secret:runtime"]
    docker("save", "--output", home / "images.tar", *images)
    found = search(home / "images.tar")
    assert found == {}, found
    for image in images:
        history = docker("history", "--no-trunc", image).stdout + docker("inspect", image).stdout
        assert "canary" not in history
    if (project / "uv.lock").exists():
        # pip has collected here what uv fetched there.
        assert layers("pinbook-secret:runtime") == layers(uv_runtime)


def search(archive: Path) -> dict[str, str]:
    """Return which canary lies in which member of an archive of images, such as a layer."""
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
    address = "https://me:canary@index.invalid/simple/"  # pragma: allowlist secret
    monkeypatch.setenv("PIP_INDEX_URL", address)
    result = make(
        project, "image", flags="--no-cache-filter uv,wheels-runtime --progress plain", check=False
    )
    assert result.returncode != 0
    assert "index.invalid" in result.stdout
    assert "canary" not in result.stdout


def test_labels_name_the_remote_without_its_password(clone, small_project, docker, make):
    project = clone(small_project)
    url = "https://me:canary@example.org/me/project.git"  # pragma: allowlist secret
    subprocess.run(["git", "-C", project, "remote", "set-url", "origin", url], check=True)
    (project / "Dockerfile").write_text("FROM scratch AS runtime\nENV A=1\n")
    (project / "src" / "untracked.py").write_text("")
    make(project, "image", "IMAGE=pinbook-labels")
    labels = docker(
        "inspect", "--format", "{{json .Config.Labels}}", "pinbook-labels:runtime"
    ).stdout
    assert '"org.opencontainers.image.source":"https://example.org/me/project.git"' in labels
    assert re.search(r'"org.opencontainers.image.revision":"\w{40}-dirty"', labels)
    assert "canary" not in labels


def test_an_untracked_file_in_src_makes_the_label_dirty(clone, small_project, docker, make):
    project = clone(small_project)
    next((project / "src").iterdir()).joinpath("untracked.py").write_text("")
    subprocess.run(["git", "-C", project, "status", "--porcelain"], check=True)
    command = ["sh", "-c", "sed 's/^exec .engine/echo/' docker/build | sh -s -- ."]
    printed = subprocess.run(
        command, cwd=project, check=True, capture_output=True, text=True
    ).stdout
    assert re.search(r"image.revision=\w{40}-dirty", printed)
