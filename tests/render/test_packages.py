"""tools/packages.py install: real environments hold what the lock says, in projects of both kinds."""

import re
import shutil
import subprocess
import sys
from hashlib import sha256

import pytest
from packaging.requirements import Requirement

from tests.render.lock_projects import (
    BASE_PYTHON,
    HERE,
    PACKAGES,
    Project,
    requirements_only,
    sentences,
)
from tests.render.private_index import FILES, wheel
from tests.support import BIN, PROGRAMS, ROOT, commit_all, run


def test_help_lists_the_commands_and_the_exit_codes():
    printed = run(sys.executable, PACKAGES, "--help").stdout
    for word in ("install", "lock", "upgrade", "audit", "Exit codes"):
        assert word in printed
    for command in ("install", "lock", "upgrade", "audit"):
        run(sys.executable, PACKAGES, command, "--help")


@pytest.mark.parametrize(
    "arguments", [[], ["instal"], ["install", "--pyton", "3.11"], ["--root", "x", "lock"]], ids=str
)
def test_a_wrong_command_ends_with_2(arguments):
    result = subprocess.run(
        [sys.executable, PACKAGES, *arguments], check=False, capture_output=True
    )
    assert result.returncode == 2


def test_the_environment_equals_the_lock(locked):
    locked.ask("tiny-a", "choosy[more]", "raw", "picky", dev=("tiny-b", "fresh"))
    locked.run("lock")
    locked.run("install")
    uv = BIN / "uv"
    frozen = run(uv, "pip", "freeze", "--python", ".venv", cwd=locked.folder).stdout
    if locked.kind == "uv":
        options = ["--frozen", "--no-hashes", "--no-emit-project", "--no-header", "--no-annotate"]
        entries = run(uv, "export", *options, cwd=locked.folder).stdout.splitlines()
    else:
        text = "\n".join(lock.read_text() for lock in locked.locks)
        entries = re.findall(r"^(\w.*) \\$", text, re.MULTILINE)
    expected = {
        f"{needed.name}{needed.specifier}"
        for needed in map(Requirement, entries)
        if not needed.marker or needed.marker.evaluate()
    }
    assert set(frozen.splitlines()) == expected
    assert len(expected) < len(locked.pins()), "picky should need a package elsewhere"


def test_install_fills_venv_whatever_environment_uv_would_take(locked, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path / "other"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    locked.run("install")
    assert not (tmp_path / "other").exists()
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


def test_install_takes_away_what_is_not_locked(locked):
    locked.run("install")
    options = ["--python", ".venv", "--default-index", locked.index]
    run(BIN / "uv", "pip", "install", *options, "fresh", cwd=locked.folder)
    assert "fresh" in locked.installed()
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_install_leaves_a_venv_alone_that_is_none(kind, locked, tmp_path):
    venv, thesis = locked.folder / ".venv", tmp_path / "thesis.tex"
    if kind == "folder":
        venv.mkdir()
        thesis = venv / "thesis.tex"
    elif kind == "file":
        thesis = venv
    else:
        (tmp_path / "pyvenv.cfg").touch()
        venv.symlink_to(tmp_path, target_is_directory=True)
    thesis.write_text("Chapter 1")
    assert sentences(locked.run("install", fails=True)) == [
        ".venv is no virtual environment of this project: move it away, then try again."
    ]
    assert thesis.read_text() == "Chapter 1"


def test_install_takes_an_empty_venv_for_a_missing_one(locked):
    (locked.folder / ".venv").mkdir()
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


@pytest.mark.parametrize("command", ["install", "lock", "audit"])
def test_a_lock_with_merge_markers_gets_one_sentence_and_stays(command, locked):
    lock = locked.locks[-1]
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text())
    before = lock.read_bytes()
    (sentence,) = sentences(locked.run(command, fails=True))
    back = f"bring it back with `git checkout HEAD {lock.name}`, then run `make lock`"
    assert sentence == f"{lock.name} has merge markers: {back}."
    assert lock.read_bytes() == before


def test_install_makes_a_broken_environment_anew(locked):
    locked.run("install")
    for python in (locked.folder / ".venv/bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nowhere/python")
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


@pytest.mark.parametrize("command", ["install", "audit"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_lock_that_is_missing_gets_one_sentence(command, number, locked):
    lock = locked.locks[number]
    lock.unlink()
    (sentence,) = sentences(locked.run(command, fails=True))
    back = f"bring it back with `git checkout HEAD {lock.name}`"
    assert sentence == f"{lock.name} is missing: {back}, or create it with `make lock`."


@pytest.mark.parametrize("command", ["install", "lock", "audit"])
def test_a_source_with_merge_markers_gets_one_sentence(command, locked):
    source = locked.folder / {"uv": "pyproject.toml"}.get(locked.kind, "requirements.in")
    source.write_text(source.read_text() + "<<<<<<< HEAD\n")
    (sentence,) = sentences(locked.run(command, fails=True))
    assert sentence == f"{source.name} has merge markers: edit it, then run `make lock`."


@pytest.mark.parametrize("project", ["uv"], indirect=True)
@pytest.mark.parametrize("command", ["install", "lock", "audit"])
def test_a_damaged_uv_lock_gets_one_sentence_and_stays(command, locked):
    lock = locked.locks[0]
    lock.write_text(lock.read_text()[:-40])
    before = lock.read_bytes()
    (sentence,) = sentences(locked.run(command, fails=True))
    assert sentence.startswith("uv.lock cannot be read (")
    assert sentence.endswith("back with `git checkout HEAD uv.lock`, then run `make lock`.")
    assert lock.read_bytes() == before


@requirements_only
@pytest.mark.parametrize("command", ["install", "lock"])
def test_a_uv_lock_does_not_stand_in_for_a_missing_source(command, locked):
    run(BIN / "uv", "lock", cwd=locked.folder)
    (locked.folder / "requirements.in").unlink()
    (sentence,) = sentences(locked.run(command, fails=True))
    back = "bring it back with `git checkout HEAD requirements.in`"
    assert sentence == f"requirements.in is missing: {back}."


@requirements_only
@pytest.mark.parametrize("bound", ['">=3.11,<4"', "'>= 3.11'", '"<4, >=3.11"', '"~=3.11"'])
def test_every_way_to_write_down_the_oldest_python_will_do(bound, locked):
    before = locked.contents()
    settings = locked.folder / "pyproject.toml"
    settings.write_text(settings.read_text().replace('">=3.11"', bound))
    locked.run("lock")
    assert locked.contents() == before


def test_without_an_oldest_python_one_sentence_asks_for_it(locked):
    settings = locked.folder / "pyproject.toml"
    settings.write_text(settings.read_text().replace('">=3.11"', '"<4"'))
    before = locked.contents()
    last = sentences(locked.run("lock", fails=True))[-1]
    assert last == 'pyproject.toml needs a line like requires-python = ">=3.11": add it.'
    assert locked.contents() == before


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_source_that_is_not_utf_8_gets_one_sentence(encoding, locked):
    name = "pyproject.toml" if locked.kind == "uv" else "requirements.in"
    source = locked.folder / name
    source.write_text(f"# für alle\n{source.read_text()}", encoding=encoding)
    before = locked.contents()
    (sentence,) = sentences(locked.run("lock", fails=True))
    assert sentence == f"{name} is not UTF-8: save it as UTF-8."
    assert locked.contents() == before


def test_the_project_is_found_from_every_folder(locked):
    shutil.copytree(PROGRAMS[locked.kind], locked.folder / "tools")
    (locked.folder / "notebooks").mkdir()
    command = [BIN / "python", "../tools/packages.py", "lock"]
    printed = run(*command, cwd=locked.folder / "notebooks").stdout
    assert "All versions stay." in printed


@pytest.mark.parametrize("version", ["3", "3.13.1", "foo"])
def test_a_python_that_is_no_version_is_refused(version, locked):
    result = locked.run("install", "--python", version, fails=True)
    assert result.returncode == 2
    assert f"{version} is no version like 3.13" in result.stderr


@requirements_only
def test_a_uv_lock_in_a_requirements_project_does_not_count(locked):
    run(BIN / "uv", "lock", cwd=locked.folder)
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


def test_install_takes_another_python_where_one_is_missing(locked):
    result = locked.run("install", "--python", "3.99")
    assert f"Python 3.99 is not on this machine: using {HERE}" in result.stderr
    assert "Traceback" not in result.stderr
    assert locked.installed() == {"tiny-a": "1.0", "tiny-b": "1.0"}


def test_install_refuses_a_python_that_the_lock_does_not_cover(locked):
    settings = locked.folder / "pyproject.toml"
    settings.write_text(settings.read_text().replace(">=3.11", ">=3.98"))
    last = sentences(locked.run("install", "--python", "3.99", fails=True))[-1]
    assert last.startswith("Python 3.99 is not on this machine")
    assert "none before 3.98" in last
    assert not (locked.folder / ".venv").exists()


def test_install_names_the_package_whose_hash_is_wrong(locked):
    locked.tamper("tiny-a")
    last = sentences(locked.run("install", fails=True))[-1]
    assert last == (
        "The lock has other hashes than the files of tiny-a. If somebody has edited it, run"
        ' `make upgrade PACKAGES="tiny-a"`; if not, do not trust these files.'
    )
    assert "tiny-a" not in locked.installed()

    locked.run("upgrade", "tiny-a")
    locked.run("install")
    assert locked.installed() == {"tiny-a": "2.0", "tiny-b": "1.0"}


@requirements_only
def test_a_right_hash_in_the_other_lock_does_not_help(locked):
    locked.tamper("tiny-a", "requirements.txt")
    assert "tiny-a" in locked.run("install", fails=True).stderr
    assert locked.installed() == {}


def test_a_file_with_another_content_is_not_installed(locked):
    locked.ask("spoiled")
    locked.run("lock")
    assert "spoiled" in locked.run("install", fails=True).stderr
    assert locked.installed() == {}


def test_install_refuses_pins_without_a_hash(locked):
    for lock in locked.locks:
        text = re.sub(r" \\\n +--hash=\S+", "", lock.read_text())
        lock.write_text(re.sub(r', hash = "[^"]+"', "", text))
    last = sentences(locked.run("install", fails=True))[-1]
    unhashed = r"has (no hashes for|lines without an exact version and a hash,) tiny-a"
    assert re.fullmatch(rf"\S+ {unhashed}.*: run `make lock`\.", last)


def test_lock_brings_back_hashes_that_were_lost(locked):
    before = locked.contents()
    for lock in locked.locks:
        text = re.sub(r" \\\n +--hash=\S+", "", lock.read_text())
        lock.write_text(re.sub(r', hash = "[^"]+"', "", text))
    assert "All versions stay." in locked.run("lock").stdout
    assert locked.contents() == before


@pytest.mark.parametrize("need", ["fresh", "choosy[more]", "tiny-a==2.0"])
def test_install_says_so_where_the_lock_does_not_fit(need, locked):
    locked.ask("choosy", "old-friend" if "==" in need else "raw")
    locked.run("upgrade")
    locked.ask("choosy", need, *(() if "==" in need else ("raw",)))
    said = sentences(locked.run("install", fails=True))
    expected = {
        "fresh": "requirements.txt has no pin for fresh of requirements.in: run `make lock`.",
        "tiny-a==2.0": "requirements.in asks for tiny-a==2.0, and requirements.txt has tiny-a==1.0:",
        # Only what is installed says what an extra needs.
        "choosy[more]": "requirements.txt does not fit requirements.in: run `make lock setup`.",
    }
    if locked.kind == "uv":
        expected = dict.fromkeys(expected, "uv.lock does not fit pyproject.toml (")
    assert any(sentence.startswith(expected[need]) for sentence in said), said
    assert "2.0" not in locked.installed().values()

    locked.run("lock")
    locked.run("install")
    assert re.match(r"[\w-]+", need)[0] in locked.installed()


def test_the_project_is_installed_in_editable_form(locked):
    """The version that builds it comes from the lock too."""
    locked.ask("tiny-a", dev=("builder==1.0",))
    with (locked.folder / "pyproject.toml").open("a") as file:
        file.write('\n[build-system]\nrequires = ["builder"]\nbuild-backend = "builder"\n')
    (locked.folder / "demo-0-py3-none-any.whl").write_bytes(wheel("demo", "0"))
    locked.run("lock")
    locked.run("install")
    assert locked.installed() == {"tiny-a": "1.0", "builder": "1.0", "demo": "0"}


@pytest.fixture
def wheels(locked, index) -> dict[str, bytes]:
    """What `make wheels` would collect for the project: a wheel of each package, one built here."""
    address = f"http://{index}/files/fresh-2.0-py3-none-any.whl"
    locked.ask("raw", f"fresh @ {address}", dev=("tiny-b",))
    locked.run("lock")
    names = ["tiny_a-1.0", "tiny_b-1.0", "fresh-2.0"]
    found = {f"{name}-py3-none-any.whl": FILES[f"{name}-py3-none-any.whl"] for name in names}
    return found | {"raw-1.0-py3-none-any.whl": wheel("raw", "1.0")}


def collect(project: Project, wheels: dict[str, bytes]) -> None:
    folder = project.folder / "wheels"
    folder.mkdir()
    for name, content in wheels.items():
        (folder / name).write_bytes(content)
    sums = [f"{sha256(content).hexdigest()}  {name}\n" for name, content in wheels.items()]
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_install_needs_no_network_where_all_is_in_wheels(locked, wheels, monkeypatch):
    collect(locked, wheels)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(locked.folder / "empty-cache"))
    locked.run("install")
    all_of_them = {"fresh": "2.0", "raw": "1.0", "tiny-a": "1.0", "tiny-b": "1.0"}
    assert locked.installed() == all_of_them
    locked.run("install")
    assert locked.installed() == all_of_them


def test_install_asks_an_index_where_wheels_are_missing(locked, wheels):
    wheels.popitem()
    collect(locked, wheels)
    locked.run("install")
    assert locked.installed().keys() == {"fresh", "raw", "tiny-a", "tiny-b"}


def test_a_wheel_that_is_not_the_locked_one_is_not_installed(locked, wheels):
    collect(locked, wheels)
    changed = locked.folder / "wheels/tiny_a-1.0-py3-none-any.whl"
    changed.write_bytes(wheel("tiny-a", "1.0", code="poisoned = True\n"))
    result = locked.run("install", fails=True)
    assert "tiny-a" in result.stderr and "ash" in result.stderr
    assert "tiny-a" not in locked.installed()


def test_a_wheel_with_a_new_sum_does_not_stand_against_the_lock(locked, wheels, index):
    """Its sum is what SHA256SUMS says, and not what the lock says."""
    wheels["fresh-2.0-py3-none-any.whl"] = wheel("fresh", "2.0", code="poisoned = True\n")
    collect(locked, wheels)
    assert "other hashes than the files of fresh" in locked.run("install", fails=True).stderr
    assert "fresh" not in locked.installed()


def test_what_was_built_for_wheels_is_named(locked, wheels):
    collect(locked, wheels)
    built = "Built by `make wheels`, from sources with the hash of the lock: raw\n"
    assert built in locked.run("install").stdout


def test_wheels_that_git_tracks_are_refused(locked, wheels):
    collect(locked, wheels)
    commit_all(locked.folder)
    assert sentences(locked.run("install", fails=True)) == [
        "git tracks wheels/, which belongs to one machine: run `git rm -r --cached wheels`."
    ]


OLD_UV = "0.6.17"
OLDEST_UV = re.search(
    r"^OLDEST_UV = \((.+)\)$", PACKAGES.with_name("machine.py").read_text(), re.MULTILINE
)[1]


@pytest.fixture
def public(project, caches, monkeypatch):
    """A project whose packages come from the public index, through the caches of this machine."""
    for name, folder in caches.items():
        monkeypatch.setenv(name, folder)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    return project._replace(index="")


@pytest.mark.parametrize("machine_uv", [None, OLD_UV, OLDEST_UV.replace(", ", ".")])
def test_uv_comes_from_the_lock_where_it_is_old_or_missing(
    machine_uv, public, tmp_path, monkeypatch
):
    """The last of them is just new enough, and does all the work itself."""
    lock = (ROOT / "locks/minimal/dev-requirements.txt").read_text()
    version = re.search(r"^uv==(\S+)", lock, re.MULTILINE)[1]
    public.ask(dev=(f"uv=={version}",))
    public.run("lock")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("git", "make", "sh"):
        (tools / tool).symlink_to(shutil.which(tool))
    if machine_uv:
        install = ["pip", "install", "--quiet", "--no-config", "--target", tmp_path / "other"]
        run(BIN / "uv", *install, f"uv=={machine_uv}", cwd=tmp_path)
        (tools / "uv").symlink_to(tmp_path / "other/bin/uv")
    monkeypatch.setenv("PATH", str(tools))

    public.run("install", python=BASE_PYTHON)
    assert public.installed() == {"uv": version}

    public.empty_environment()
    public.run("install", python=BASE_PYTHON)
    assert (public.folder / ".venv/bin/uv").exists()


def test_a_lock_may_have_an_older_uv_than_the_machine(public, tmp_path, monkeypatch):
    public.ask(dev=(f"uv=={OLD_UV}",))
    public.run("lock")
    for _ in range(2):  # The second time, it is in .venv.
        public.run("install")
        assert public.installed() == {"uv": OLD_UV}
    # What is installed already would need no uv.
    shutil.rmtree(public.folder / ".venv")
    monkeypatch.setenv("PATH", str(tmp_path))
    last = sentences(public.run("install", python=BASE_PYTHON, fails=True))[-1]
    assert last.startswith("There is no uv 0.")


@requirements_only
def test_a_lock_without_a_hash_of_uv_gets_one_sentence(project, tmp_path, monkeypatch):
    project.ask()
    project.run("lock")
    with (project.folder / "dev-requirements.txt").open("a") as lock:
        lock.write("uv==0.13.8\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    last = sentences(project.run("install", python=BASE_PYTHON, fails=True))[-1]
    assert last.endswith("nor one with a hash in the lock: install uv.")


def test_install_says_so_where_not_even_the_lock_has_uv(project, tmp_path, monkeypatch):
    project.ask()
    project.run("lock")
    monkeypatch.setenv("PATH", str(tmp_path))
    last = sentences(project.run("install", python=BASE_PYTHON, fails=True))[-1]
    assert last.endswith("nor one with a hash in the lock: install uv.")
