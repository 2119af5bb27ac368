"""`make audit` asks a service of advisories, here one on this machine, about every locked version."""

import json
from http.server import BaseHTTPRequestHandler

import pytest

from tests.render.lock_projects import BASE_PYTHON, requirements_only, sentences
from tests.render.private_index import LONG_AGO, serve
from tests.support import BIN

ADVISORY = {
    "id": "GHSA-tiny-tiny-tiny",
    "modified": LONG_AGO,
    "summary": "It deletes thesis.tex.",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "tiny-a"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


ASKED: set[str] = set()


class Advisories(BaseHTTPRequestHandler):
    """The part of the OSV service that uv needs; one version of one package is vulnerable."""

    broken = False

    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        pins = [f"{query['package']['name']}=={query['version']}" for query in queries]
        ASKED.update(pins)
        found = {"vulns": [{"id": ADVISORY["id"], "modified": LONG_AGO}]}
        self.answer({"results": [found if pin == "tiny-a==1.0" else {} for pin in pins]})

    def do_GET(self):
        self.answer({} if self.broken else ADVISORY)

    def answer(self, content: dict) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    ASKED.clear()
    with serve(Advisories) as address:
        yield f"http://{address}/"


def test_a_vulnerable_version_is_named_with_its_advisory(locked, service):
    result = locked.run("audit", "--", "--service-url", service, fails=True)
    assert result.returncode == 1
    for word in ("tiny-a 1.0", ADVISORY["id"], ADVISORY["summary"], "Fixed in: 2.0"):
        assert word in result.stdout
    assert ASKED == {"tiny-a==1.0", "tiny-b==1.0"}


@requirements_only
def test_a_pin_with_an_extra_is_asked_about_too(locked, service):
    for lock in locked.locks:
        lock.write_text(lock.read_text().replace("tiny-a==1.0", "tiny-a[more]==1.0"))
    locked.run("audit", "--", "--service-url", service, fails=True)
    assert ASKED == {"tiny-a==1.0", "tiny-b==1.0"}


def test_versions_that_nobody_has_warned_about_are_fine(locked, service):
    locked.run("upgrade")
    result = locked.run("audit", "--", "--service-url", service)
    assert "no known vulnerabilities" in result.stderr and "2 packages" in result.stderr
    assert ASKED == {"tiny-a==2.0", "tiny-b==2.0"}


def test_it_is_asked_about_what_other_systems_install_too(locked, service):
    locked.ask("picky", "tiny-a==1.0; sys_platform == 'win32'")
    locked.run("lock")
    locked.run("audit", "--", "--service-url", service, fails=True)
    assert ASKED == locked.pins() == {"picky==1.0", "tiny-a==1.0", "withdrawn==1.0"}


def test_an_advisory_can_be_ignored_in_a_committed_file(locked, service):
    with (locked.folder / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.uv.audit]\nignore = ["{ADVISORY["id"]}"]\n')
    result = locked.run("audit", "--", "--service-url", service)
    assert "no known vulnerabilities" in result.stderr


@pytest.mark.parametrize("kind", ["does not answer", "answers something else", "is switched off"])
def test_nothing_is_called_safe_where_nobody_was_asked(kind, locked, service, monkeypatch):
    if kind == "does not answer":
        service = "http://127.0.0.1:1/"
    elif kind == "answers something else":
        monkeypatch.setattr(Advisories, "broken", True)
    else:
        monkeypatch.setenv("UV_OFFLINE", "1")
    result = locked.run("audit", "--", "--service-url", service, fails=True)
    printed = result.stdout + result.stderr
    assert "no known" not in printed
    assert "Traceback" not in printed
    if kind == "does not answer":
        assert result.returncode == 1
        (sentence,) = sentences(result)
        assert sentence.startswith("No source of advisories answers, so nothing was checked: ")


def test_the_uv_of_the_project_itself_does_it(locked, service, monkeypatch):
    """As in `make audit`: neither the machine nor the Python that runs this has another."""
    locked.empty_environment()
    (locked.folder / ".venv/bin/uv").symlink_to(BIN / "uv")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    locked.run("upgrade", python=BASE_PYTHON)
    locked.run("audit", "--", "--service-url", service, python=BASE_PYTHON)
    assert ASKED == {"tiny-a==2.0", "tiny-b==2.0"}


def test_an_empty_lock_is_not_called_safe(project, service):
    project.ask()
    project.run("lock")
    result = project.run("audit", "--", "--service-url", service, fails=True)
    assert sentences(result) == [
        "Nothing is locked with a hash, so nothing was checked: run `make lock`."
    ]


def test_a_package_with_an_address_is_asked_about_or_named(locked, service, index):
    locked.ask(f"tiny-a @ http://{index}/files/tiny_a-1.0-py3-none-any.whl", "fresh")
    locked.run("lock")
    if locked.kind == "uv":
        assert (
            "tiny-a 1.0" in locked.run("audit", "--", "--service-url", service, fails=True).stdout
        )
    else:
        printed = locked.run("audit", "--", "--service-url", service).stderr
        assert "tiny-a has an address and no version: it is not checked." in printed
    assert "fresh==1.0" in ASKED
