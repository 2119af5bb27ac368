"""Private indexes and mirrors come from the settings of a machine, and leave no trace in a project."""

import re
import sys

import pytest

from tests.render.lock_projects import Project, sentences
from tests.render.private_index import IN_URL, PASSWORD, USER
from tests.support import ROOT, run

only = {
    kind: pytest.mark.parametrize("project", [kind], indirect=True)
    for kind in ("requirements", "uv")
}
NOWHERE = "http://127.0.0.1:1/"
# The index that uv.lock names where nobody has set another.
PUBLIC = re.search(r'registry = "(.+?)"', (ROOT / "locks/minimal/uv/uv.lock").read_text())[1]


def use_variable(name):
    def configure(monkeypatch, machine, url):
        monkeypatch.setenv(name, url)

    return configure


def use_file(path, text):
    def configure(monkeypatch, machine, url):
        file = machine / path
        file.parent.mkdir(parents=True)
        file.write_text(text.format(url=url))

    return configure


def use_netrc(monkeypatch, machine, url):
    host = url.split("@")[1].split(":")[0]
    (machine / ".netrc").write_text(f"machine {host} login {USER} password {PASSWORD}\n")
    (machine / ".netrc").chmod(0o600)
    monkeypatch.setenv("PIP_INDEX_URL", url.replace(f"{IN_URL}@", ""))


CONFIGURATIONS = {
    "PIP_INDEX_URL": use_variable("PIP_INDEX_URL"),
    "UV_DEFAULT_INDEX": use_variable("UV_DEFAULT_INDEX"),
    "UV_INDEX_URL": use_variable("UV_INDEX_URL"),
    "pip.conf": use_file(".config/pip/pip.conf", "[global]\nindex-url = {url}\n"),
    "pip.conf-install": use_file(".config/pip/pip.conf", "[install]\nindex-url = {url}\n"),
    "uv.toml": use_file(".config/uv/uv.toml", '[[index]]\nurl = "{url}"\ndefault = true\n'),
    "netrc": use_netrc,
}


@only["requirements"]
@pytest.mark.parametrize("configure", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_private_index_is_used_and_leaves_no_trace(
    configure, project, machine, private_index, monkeypatch
):
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    configure(monkeypatch, machine, f"http://{IN_URL}@{private_index}/simple/")
    printed = [project.run(command) for command in ("lock", "install", "upgrade", "install")]
    assert project.installed() == {"tiny-a": "2.0", "tiny-b": "2.0"}
    check_for_traces(project, private_index, printed)


@only["uv"]
@pytest.mark.parametrize("configure", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_public_lock_is_installed_from_a_private_index(
    configure, locked, machine, index, private_index, monkeypatch
):
    look_public(locked, index)
    configure(monkeypatch, machine, f"http://{IN_URL}@{private_index}/simple/")
    printed = [locked.run("install"), locked.run("install")]
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}
    check_for_traces(locked, private_index, printed)


def look_public(project: Project, index: str) -> None:
    """Make a lock that names the small index look like one from the public index; cut off both."""
    project._replace(index="").ask("tiny-a", dev=("tiny-b",))
    (lock,) = project.locks
    text = lock.read_text().replace(project.index, PUBLIC)
    lock.write_text(text.replace(f"http://{index}/", "https://files.pythonhosted.org/nowhere/"))


def check_for_traces(project: Project, private_index: str, printed: list) -> None:
    for secret in (PASSWORD, IN_URL.split(":")[1], private_index):
        for path in project.folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        assert not any(secret in result.stdout + result.stderr for result in printed)


@only["requirements"]
def test_a_private_index_is_found_by_a_python_without_pip(
    project, private_index, monkeypatch, tmp_path
):
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{IN_URL}@{private_index}/simple/")
    project.run("lock", python=tmp_path / "bare/bin/python")
    assert project.pins() == {"tiny-a==2.0", "tiny-b==2.0"}


@only["requirements"]
def test_an_index_that_refuses_is_reported_without_the_password(
    project, private_index, monkeypatch
):
    wrong = f"http://{USER}:wr0ng@{private_index}/simple/"  # pragma: allowlist secret
    monkeypatch.setenv("UV_DEFAULT_INDEX", wrong)
    result = project.run("lock", fails=True)
    assert "wr0ng" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@only["requirements"]
def test_an_index_without_dates_works_without_the_age_limit(project, index, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{index}/undated/")
    project.ask("fresh", dev=("tiny-b",))
    said = project.run("lock").stderr
    assert said.count("This index does not say how old a release is") == 1
    assert project.pins() == {"fresh==2.0", "tiny-a==2.0", "tiny-b==2.0"}
    locked = project.contents()
    project.run("install")
    assert project.installed() == {"fresh": "2.0", "tiny-a": "2.0", "tiny-b": "2.0"}

    # Who knows this says so beforehand. The lock tells nothing of it.
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "false")
    result = project.run("lock")
    assert "how old" not in result.stderr
    assert project.contents() == locked

    monkeypatch.delenv("UV_EXCLUDE_NEWER")
    project.ask("old-friend", "tiny-a==2.0", dev=("tiny-b",))
    assert "old-friend depend on tiny-a<2" in project.run("lock", fails=True).stderr
    assert project.contents() == locked


@only["uv"]
def test_an_index_of_uv_lock_that_tells_no_dates_needs_a_setting(locked, index):
    before = locked.contents()
    undated = locked._replace(index=f"http://{index}/undated/")
    undated.ask("tiny-a", dev=("tiny-b",))
    assert "is missing an upload date" in undated.run("upgrade", fails=True).stderr
    assert locked.contents() == before
    undated.ask("tiny-a", dev=("tiny-b",), settings="")
    undated.run("upgrade")
    undated.run("install")
    assert undated.installed() == {"tiny-a": "2.0", "tiny-b": "2.0"}


@only["uv"]
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
@pytest.mark.parametrize("setting", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "uv.toml"])
def test_uv_lock_does_not_take_over_the_index_of_one_machine(
    setting, first, locked, index, machine, monkeypatch
):
    if first:
        locked.locks[0].unlink()
    else:
        look_public(locked, index)
    before = locked.contents()
    locked._replace(index="").ask("tiny-a", dev=("tiny-b",))
    CONFIGURATIONS[setting](monkeypatch, machine, f"http://{index}/simple/")
    last = sentences(locked.run("lock", fails=True))[-1]
    assert last.startswith(
        f"uv.lock takes packages from http://{index}/simple, which pyproject.toml"
    )
    assert locked.contents() == before


@only["uv"]
@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "pip.conf"])
def test_uv_lock_does_not_look_at_the_index_of_pip(setting, locked, machine, monkeypatch):
    CONFIGURATIONS[setting](monkeypatch, machine, NOWHERE)
    locked.run("upgrade")
    assert locked.pins() == {"tiny-a==2.0", "tiny-b==2.0"}
    # Each package then comes from there, as pip's user wants it.
    assert NOWHERE in locked.run("install", fails=True).stderr


@only["uv"]
def test_the_password_of_an_index_stays_in_the_environment(project, private_index, monkeypatch):
    project = project._replace(index=f"http://{private_index}/simple/")
    project.ask("tiny-a", dev=("tiny-b",))
    monkeypatch.setenv("UV_INDEX_TINY_USERNAME", USER)
    monkeypatch.setenv("UV_INDEX_TINY_PASSWORD", PASSWORD)
    project.run("lock")
    project.run("install")
    assert project.installed() == {"tiny-a": "2.0", "tiny-b": "2.0"}
    assert PASSWORD not in project.locks[0].read_text()


@only["uv"]
def test_a_package_can_come_from_an_index_of_its_own(project, index):
    """As PyTorch's does, which other packages must not come from."""
    project.ask(
        "tiny-a",
        "elsewhere",
        settings='exclude-newer = "7 days"\nsources = { elsewhere = { index = "other" } }\n'
        f'[[tool.uv.index]]\nname = "other"\nurl = "http://{index}/other/"\nexplicit = true\n',
    )
    project.run("lock")
    project.run("install")
    assert project.installed() == {"tiny-a": "2.0", "elsewhere": "1.0"}
