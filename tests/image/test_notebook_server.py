"""JupyterLab in a container, as `make up`, `make down` and `make logs` serve it."""

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from tests.support import git, run

LINK = re.compile(r"http://127\.0\.0\.1:(?P<port>\d+)/lab\?token=(?P<token>[0-9a-f]{48})")


def ask(link: str) -> str:
    with urllib.request.urlopen(link) as answer:
        return answer.read().decode()


def test_up_prints_a_link_that_works_once_and_last(server):
    printed = server("up").stdout
    assert LINK.fullmatch(printed.splitlines()[-1])
    assert len(LINK.findall(printed)) == 1
    link = printed.splitlines()[-1]
    assert "JupyterLab" in ask(link)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(f"http://127.0.0.1:{server.port}/api/contents")

    # The token is the person's alone, and git does not see it.
    secret = server.folder / ".env"
    assert secret.stat().st_mode & 0o077 == 0
    assert "UID=4321\nGID=4321\nJUPYTER_TOKEN=" in secret.read_text()
    assert ".env" not in git(server.folder, "-c", "safe.directory=*", "status", "--porcelain")

    # A second start changes nothing.
    assert server("up").stdout.splitlines()[-1] == link
    assert "make setup" in server("up").stderr, "nothing warns that there is no hook"


def test_it_is_locked_down_and_only_this_machine_reaches_it(server, docker):
    server("up")
    compose = ["compose", "--project-directory", server.folder]
    name = docker(*compose, "ps", "--quiet", "notebook").stdout.strip()
    (about,) = json.loads(docker("inspect", name).stdout)
    assert about["HostConfig"]["ReadonlyRootfs"] is True
    assert about["HostConfig"]["CapDrop"] == ["ALL"]
    assert about["Config"]["User"] == "4321:4321"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outwards:
        outwards.connect(("192.0.2.1", 9))  # This sends nothing.
        address = outwards.getsockname()[0]
    assert address != "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, int(server.port)), timeout=5)


def test_a_tab_is_still_logged_in_after_a_restart(server):
    link = server("up").stdout.splitlines()[-1]
    page = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page.open(link).read()
    address = f"http://127.0.0.1:{server.port}/api/contents"
    assert b"notebooks" in page.open(address).read()
    server("down")
    assert server("up").stdout.splitlines()[-1] == link
    assert b"notebooks" in page.open(address).read()


def test_a_taken_port_ends_in_one_sentence_with_another_port(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = server("up", f"PORT={port}", fails=True).stderr
        assert f"Port {port} is taken: choose another, with 'make up PORT=8889'.\n" in said
        assert "Traceback" not in said
        assert "Error response" not in said


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("up", "No container engine answers: start Docker or podman, or name"),
        ("down", "There is no 'no-such-engine compose': install"),
        ("logs", "There is no 'no-such-engine compose': install"),
    ],
)
def test_without_an_engine_one_sentence_says_so(project, target, words, monkeypatch):
    monkeypatch.setenv("ENGINE", "no-such-engine")
    command = ["make", "--no-print-directory", target]
    result = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    sentence, from_make = result.stderr.splitlines()
    assert sentence.startswith(words)
    assert from_make.startswith("make: ***")


def test_the_folder_of_root_is_refused_with_the_way_out(server):
    subprocess.run(["chown", "-R", "0:0", server.folder], check=True)
    said = server("up", fails=True).stderr
    assert "refuses to run as root: give this folder to a user, with 'chown -R 1000:1000 .'" in said
    assert not (server.folder / ".env").exists()


def test_a_folder_without_a_repository_is_refused(server):
    shutil.rmtree(server.folder / ".git")
    assert "run 'git init'" in server("up", fails=True).stderr


def test_compose_asks_no_registry_for_an_image_of_ours(server, docker):
    compose = ["compose", "--project-directory", server.folder]
    services = json.loads(docker(*compose, "config", "--format", "json").stdout)["services"]
    assert {one["pull_policy"] for one in services.values()} == {"never"}
    assert not any("build" in one for one in services.values())
    text = (server.folder / "compose.yaml").read_text().replace("pinbook-test:", "pinbook-none:")
    (server.folder / "compose.yaml").write_text(text)
    said = docker(*compose, "up", "--detach", "notebook", check=False).stderr
    assert "No such image: pinbook-none:notebook" in said
    assert "registry" not in said
    assert "# No such image? `make image STAGE=notebook`" in text


@pytest.fixture(scope="session")
def devcontainer(tmp_path_factory) -> str:
    """The reference program that opens projects in their containers."""
    folder = tmp_path_factory.mktemp("npm")
    install = ["npm", "install", "--silent", "--prefix", folder, "@devcontainers/cli@0.89.0"]
    if not shutil.which("npm") or subprocess.run(install, check=False, timeout=300).returncode:
        pytest.skip("NOT TESTED: .devcontainer, because npm cannot install its command")
    return folder / "node_modules/.bin/devcontainer"


def test_an_editor_opens_the_project_in_its_container(server, devcontainer, docker, monkeypatch):
    for name, value in server.settings.items():
        monkeypatch.setenv(name, value)
    where = ["--workspace-folder", server.folder]
    assert '"outcome":"success"' in run(devcontainer, "up", *where).stdout
    tests = run(devcontainer, "exec", *where, "python", "-m", "pytest", "-p", "no:cacheprovider")
    assert "4 passed" in tests.stdout

    # The setup from the lock is the image; what an editor runs after a change says whether it still fits.
    settings = json.loads((server.folder / ".devcontainer/devcontainer.json").read_text())
    fits = ["sh", "-c", settings["updateContentCommand"]]
    run(devcontainer, "exec", *where, *fits)
    lock = server.folder / "requirements.txt"
    lock.write_text(re.sub(r"(?m)^numpy==\S+", "numpy==1.0", lock.read_text()))
    said = run(devcontainer, "exec", *where, *fits, fails=True)
    assert "The lock is not that of the image: rebuild the container." in said.stdout + said.stderr

    # A program inside must not write what the editor runs outside.
    own = "touch .devcontainer/new || touch .git/hooks/new || id -u"
    assert run(devcontainer, "exec", *where, "sh", "-c", own).stdout.strip() == "4321"


def test_logs_show_what_the_server_prints(server, docker):
    server("up")
    with subprocess.Popen(
        ["make", "logs"], cwd=server.folder, stdout=subprocess.PIPE, text=True
    ) as logs:
        assert any("is running at" in line for line in logs.stdout)
        server("down")
        assert logs.wait(timeout=20) == 0
