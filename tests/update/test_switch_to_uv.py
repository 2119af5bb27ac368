"""A project with requirements.txt becomes one with uv.lock, with the same packages in the same versions."""

import re
import shutil
import tomllib
from difflib import ndiff
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT, git, pins, run
from tests.update.template_versions import commit, copy

GUIDE = (ROOT / "docs/how-to/switch-to-uv.md").read_text(encoding="utf-8")
UPDATE, MOVE, COMMIT, *_ = re.findall(r"^```console\n(.*?)```$", GUIDE, re.MULTILINE | re.DOTALL)
# They are old, and nothing but the lock asks for these versions.
OLD = ["packaging==25.0", "six==1.16.0", "webcolors==24.11.1"]
ASKED = '\n# for old data\nsix  # yes, still\npackaging ; python_full_version >= "3.12"\nnbformat[test] <99\n'


@pytest.fixture(scope="module")
def both(template, computer, tmp_path_factory) -> tuple[Path, Path]:
    """A project that somebody has worked with, as it was, and after the switch."""
    folder = tmp_path_factory.mktemp("switched")
    before, after = folder / "before", copy(template, folder / "after", "v1.0.0", stack="minimal")
    commit(after)
    run("make", "setup", cwd=after)
    with (after / "requirements.in").open("a") as file:
        file.write(ASKED)
    run("make", "upgrade", f"PACKAGES={' '.join(OLD)}", cwd=after)
    run("make", "setup", cwd=after)
    commit(after)
    shutil.copytree(after, before, ignore=shutil.ignore_patterns(".venv"))
    (before / "installed.txt").write_text(installed(after))
    run("sh", "-ec", UPDATE + MOVE, cwd=after, env=computer("copier"))
    return before, after


@pytest.fixture(scope="module")
def before(both) -> Path:
    return both[0]


@pytest.fixture(scope="module")
def after(both) -> Path:
    return both[1]


def installed(project: Path) -> str:
    return run(".venv/bin/uv", "pip", "freeze", "--exclude-editable", cwd=project).stdout


def test_all_pins_stay(before, after):
    was = set()
    for lock in ("requirements.txt", "dev-requirements.txt"):
        was |= pins((before / lock).read_text())
    assert was >= set(OLD)
    packages = tomllib.loads((after / "uv.lock").read_text())["package"]
    locked = {f"{p['name']}=={p['version']}" for p in packages if "editable" not in p["source"]}
    assert locked == was


def test_the_environment_stays(before, after):
    assert installed(after) == (before / "installed.txt").read_text()


def test_pyproject_asks_for_what_the_in_files_asked_for(before, after):
    was = (before / "pyproject.toml").read_text().splitlines()
    now = (after / "pyproject.toml").read_text().splitlines()
    assert not [line for line in ndiff(was, now) if line.startswith("-")]
    settings = tomllib.loads("\n".join(now))
    assert settings["tool"]["uv"]["exclude-newer"] == "7 days"
    asked = [settings["project"]["dependencies"], settings["dependency-groups"]["dev"]]
    for name, needs in zip(("requirements.in", "dev-requirements.in"), asked, strict=True):
        lines = re.findall(r"^[a-z][^#\n]*", (before / name).read_text(), re.MULTILINE)
        assert set(map(Requirement, needs)) == set(map(Requirement, lines))


def test_everything_fits_and_nothing_is_left(after):
    run(".venv/bin/uv", "lock", "--check", cwd=after)
    run(".venv/bin/python", "tools/packages.py", "check", cwd=after)
    assert not list(after.glob("*requirements*"))
    run("sh", "-ec", COMMIT, cwd=after)
    run("make", "lock", "setup", cwd=after)
    assert git(after, "status", "--porcelain") == ""


def test_a_later_update_finds_nothing_to_do(after, computer):
    commit(after)
    result = run("make", "update", cwd=after, env=computer("copier"))
    assert "Nothing to do" in result.stdout
