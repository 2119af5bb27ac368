"""tools/packages.py, with real environments and a private package index that asks for a password."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from private_index import IN_URL, PASSWORD, USER, serve

from support import BIN, ROOT, run

PACKAGES = ROOT / "template/tools/packages.py"
HERE = "{}.{}".format(*sys.version_info)
LOCKS = ["requirements.txt", "dev-requirements.txt"]
# A Python that has neither uv nor packages beside it.
BASE_PYTHON = Path(sys.base_prefix) / f"bin/python{HERE}"


@pytest.fixture(scope="module")
def index():
    with serve() as address:
        yield address


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A HOME without any setting of pip or uv, and with caches of its own."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # A launcher like pyenv's, asked for each Python that it could start, would take seconds.
    monkeypatch.setenv("PATH", f"{BASE_PYTHON.parent}:{BIN}:{os.environ['PATH']}")
    return home


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with two tiny packages, not locked yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.11"\n')
    (folder / "requirements.in").write_text("tiny-a\n")
    (folder / "dev-requirements.in").write_text("-c requirements.txt\ntiny-b\n")
    return folder


@pytest.fixture
def locked(project, machine, index, monkeypatch) -> Path:
    """The project, locked with the older versions; newer ones are there and allowed."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{IN_URL}@{index}/simple/")
    allowed = {path: path.read_text() for path in project.glob("*.in")}
    for path, text in allowed.items():
        path.write_text(re.sub(r"(tiny-.)", r"\1==1.0", text))
    packages(project, "lock")
    for path, text in allowed.items():
        path.write_text(text)
    return project


def test_help_says_what_the_commands_are_and_what_the_exit_codes_mean():
    printed = run(sys.executable, PACKAGES, "--help").stdout
    for word in ("install", "lock", "upgrade", "Exit codes"):
        assert word in printed
    for command in ("install", "lock", "upgrade"):
        run(sys.executable, PACKAGES, command, "--help")


@pytest.mark.parametrize("arguments", [[], ["instal"], ["install", "--pyton", "3.11"]], ids=str)
def test_a_wrong_command_ends_with_2(arguments):
    result = subprocess.run(
        [sys.executable, PACKAGES, *arguments], check=False, capture_output=True
    )
    assert result.returncode == 2


def test_install_makes_the_environment_hold_exactly_the_lock(locked):
    packages(locked, "install")
    assert installed(locked) == {"tiny-a": "1.0", "tiny-b": "1.0"}

    lock = locked / "dev-requirements.txt"
    lock.write_text(re.sub(r"(?s)^tiny-b==.*?(?=^\S|\Z)", "", lock.read_text(), flags=re.MULTILINE))
    packages(locked, "install")
    assert installed(locked) == {"tiny-a": "1.0"}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_install_leaves_a_venv_alone_that_is_none(kind, locked, tmp_path):
    venv, thesis = locked / ".venv", tmp_path / "thesis.tex"
    if kind == "folder":
        venv.mkdir()
        thesis = venv / "thesis.tex"
    elif kind == "file":
        thesis = venv
    else:
        (tmp_path / "pyvenv.cfg").touch()
        venv.symlink_to(tmp_path, target_is_directory=True)
    thesis.write_text("Chapter 1")
    result = packages(locked, "install", fails=True)
    assert sentences(result) == [
        ".venv is no virtual environment of this project: move it away, then try again."
    ]
    assert thesis.read_text() == "Chapter 1"


def test_install_takes_an_empty_venv_for_one_that_is_not_there_yet(locked):
    (locked / ".venv").mkdir()
    packages(locked, "install")
    assert installed(locked) == {"tiny-a": "1.0", "tiny-b": "1.0"}


@pytest.mark.parametrize("command", ["install", "lock"])
def test_a_lock_with_merge_markers_gets_one_sentence_and_stays(command, locked):
    lock = locked / "dev-requirements.txt"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text())
    before = lock.read_bytes()
    (sentence,) = sentences(packages(locked, command, fails=True))
    assert sentence.startswith("dev-requirements.txt has merge markers: take one side with `git")
    assert lock.read_bytes() == before


def test_install_makes_a_broken_environment_anew(locked):
    packages(locked, "install")
    for python in (locked / ".venv/bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nowhere/python")
    packages(locked, "install")
    assert installed(locked) == {"tiny-a": "1.0", "tiny-b": "1.0"}


@pytest.mark.parametrize("name", LOCKS)
def test_install_says_which_lock_is_missing(name, locked):
    (locked / name).unlink()
    result = packages(locked, "install", fails=True)
    (sentence,) = sentences(result)
    assert sentence == f"{name} is missing: bring it back with `git checkout {name}`."


def test_install_goes_on_with_another_python_where_the_chosen_one_is_missing(locked):
    result = packages(locked, "install", "--python", "3.99")
    assert f"Python 3.99 is not on this machine: using {HERE}" in result.stderr
    assert "Traceback" not in result.stderr
    assert installed(locked) == {"tiny-a": "1.0", "tiny-b": "1.0"}


def test_install_refuses_a_python_that_the_lock_does_not_cover(locked):
    (locked / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.98"\n')
    result = packages(locked, "install", "--python", "3.99", fails=True)
    assert sentences(result)[-1].startswith("Python 3.99 is not on this machine")
    assert "none before 3.98" in sentences(result)[-1]
    assert not (locked / ".venv").exists()


def test_install_names_the_package_whose_hash_is_wrong(locked):
    for lock in (locked / name for name in LOCKS):
        wrong = re.sub(
            r"(tiny-a==.*\n.*sha256:)[0-9a-f]{64}", r"\g<1>" + "0" * 64, lock.read_text()
        )
        lock.write_text(wrong)
    result = packages(locked, "install", fails=True)
    assert "tiny-a" in result.stderr and "ash" in result.stderr
    assert "tiny-a" not in installed(locked)


def test_lock_keeps_pins_that_still_fit(locked):
    before = contents(locked)
    packages(locked, "lock")
    assert contents(locked) == before


def test_upgrade_moves_all_pins(locked):
    printed = packages(locked, "upgrade").stdout
    assert "tiny-a 1.0 -> 2.0" in printed and "tiny-b 1.0 -> 2.0" in printed
    assert "tiny-a==2.0" in (locked / "requirements.txt").read_text()
    assert "tiny-a==2.0" in (locked / "dev-requirements.txt").read_text()
    assert "tiny-b==2.0" in (locked / "dev-requirements.txt").read_text()


def test_upgrade_of_one_package_moves_only_that(locked):
    before = contents(locked)
    printed = packages(locked, "upgrade", "tiny-b").stdout
    assert re.findall(r"tiny-. .*", printed) == ["tiny-b 1.0 -> 2.0"]
    after = contents(locked)
    assert after["requirements.txt"] == before["requirements.txt"]
    assert b"tiny-a==1.0" in after["dev-requirements.txt"]
    assert b"tiny-b==2.0" in after["dev-requirements.txt"]


def test_the_development_lock_follows_the_other(locked):
    packages(locked, "upgrade", "tiny-a")
    assert "tiny-a==2.0" in (locked / "requirements.txt").read_text()
    assert "tiny-a==2.0" in (locked / "dev-requirements.txt").read_text()


@pytest.mark.parametrize("source", ["requirements.in", "dev-requirements.in"])
@pytest.mark.parametrize("command", ["lock", "upgrade"])
def test_a_lock_that_fails_leaves_both_files_as_they_were(command, source, locked):
    before = contents(locked)
    with (locked / source).open("a") as file:
        file.write("tiny-b==9.0\n")
    result = packages(locked, command, fails=True)
    assert "tiny-b==9.0" in result.stderr  # uv's explanation
    assert "Traceback" not in result.stderr
    assert contents(locked) == before


def test_a_first_lock_that_fails_leaves_no_half_of_it(project, machine, index, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{IN_URL}@{index}/simple/")
    (project / "dev-requirements.in").write_text("tiny-b==9.0\n")
    packages(project, "lock", fails=True)
    assert not [name for name in LOCKS if (project / name).exists()]


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


@pytest.mark.parametrize("configure", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_private_index_is_used_and_leaves_no_trace(
    configure, project, machine, index, monkeypatch
):
    configure(monkeypatch, machine, f"http://{IN_URL}@{index}/simple/")
    printed = [
        packages(project, "lock"),
        packages(project, "install"),
        packages(project, "upgrade"),
    ]
    assert installed(project) == {"tiny-a": "2.0", "tiny-b": "2.0"}
    for secret in (PASSWORD, IN_URL.split(":")[1], index):
        for path in project.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        assert not any(secret in result.stdout + result.stderr for result in printed)


def test_a_private_index_is_found_by_a_python_without_pip(
    project, machine, index, monkeypatch, tmp_path
):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{IN_URL}@{index}/simple/")
    packages(project, "lock", python=tmp_path / "bare/bin/python")
    assert "tiny-a==2.0" in (project / "requirements.txt").read_text()


def test_an_index_that_refuses_is_reported_without_the_password(
    project, machine, index, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{USER}:wr0ng@{index}/simple/")
    result = packages(project, "lock", fails=True)
    assert "wr0ng" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_uv_comes_from_the_lock_where_the_machine_has_none(project, tmp_path, monkeypatch):
    """As on a machine with nothing but Python: pip installs uv, and uv everything else."""
    lock = (ROOT / "locks/minimal/dev-requirements.txt").read_text()
    (uv,) = re.findall(r"^uv==.*\n(?:    .*\n)+", lock, re.MULTILINE)
    (project / "requirements.txt").write_text("")
    (project / "dev-requirements.txt").write_text(uv)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("git", "make", "sh"):
        (tools / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tools))

    packages(project, "install", python=BASE_PYTHON)
    assert installed(project) == {"uv": re.match(r"uv==(\S+)", uv)[1]}

    run(BASE_PYTHON, "-m", "venv", "--clear", "--without-pip", project / ".venv")
    packages(project, "install", python=BASE_PYTHON)
    assert (project / ".venv/bin/uv").exists()


def test_install_says_so_where_not_even_the_lock_has_uv(project, tmp_path, monkeypatch):
    for name in LOCKS:
        (project / name).write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = packages(project, "install", python=BASE_PYTHON, fails=True)
    assert sentences(result)[-1].startswith("There is no uv: install it")


def packages(
    project: Path, *arguments: str, python: Path = BIN / "python", **options
) -> subprocess.CompletedProcess:
    return run(python, PACKAGES, "--root", project, *arguments, **options)


def installed(project: Path) -> dict[str, str]:
    """What the environment holds, apart from the pip that venv brings along."""
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    printed = run(project / ".venv/bin/python", "-I", "-c", code).stdout
    found = dict(line.split() for line in printed.splitlines())
    return {name: v for name, v in found.items() if name not in ("pip", "setuptools")}


def sentences(result: subprocess.CompletedProcess) -> list[str]:
    return result.stderr.splitlines()


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in LOCKS}
