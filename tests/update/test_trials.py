"""What strangers' repositories broke in `tools/update.py`: bytes, half updates, causes, foreign code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import BIN, PROGRAMS, git, run
from tests.update.template_versions import ANSWERS, commit, contents, copy, release

SETTINGS = """
_min_copier_version: "9.18.0"
_subdirectory: template
_envops: {undefined: jinja2.StrictUndefined}
color: {type: str, default: red}
kind: {type: str, default: a, choices: [a, b]}
"""


@pytest.fixture(scope="module")
def origin(clean_environment, tmp_path_factory) -> Path:
    """A small template with this program, whose files a test changes for its own v2.0.0."""
    origin = tmp_path_factory.mktemp("small") / "template"
    files = origin / "template"
    (files / "tools").mkdir(parents=True)
    for program in PROGRAMS["requirements"].glob("*.py"):
        shutil.copy(program, files / "tools")
    (files / "{{ _copier_conf.answers_file }}.jinja").write_text(
        "{{ _copier_answers|to_nice_yaml -}}"
    )
    (origin / "copier.yml").write_text(SETTINGS)
    lines = "".join(f"line {number}\n" for number in range(1, 30))
    for name in (".gitignore", "compose.yaml", "dropped.yaml"):
        (files / name).write_text(f"# {name}\n{lines}".replace("line", "# line"))
    git(origin, "init", "--quiet", "--initial-branch", "main")
    release(origin, "v1.0.0")
    return origin


@pytest.fixture
def template(origin, tmp_path) -> Path:
    return Path(shutil.copytree(origin, tmp_path / "template"))


@pytest.fixture
def project(template, tmp_path) -> Path:
    folder = copy(template, tmp_path / "project", "v1.0.0", color="blue", kind="b")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def release_two(template: Path, **changes: str | None) -> None:
    """Release v2.0.0 with a new first line in compose.yaml, and with other contents or without them."""
    compose = template / "template/compose.yaml"
    compose.write_text("# new\n" + compose.read_text())
    for name, text in changes.items():
        path = template / "template" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if text is None else path.write_text(text)
    release(template, "v2.0.0")


def update(project: Path, *options: str, ends: int = 0, **settings) -> str:
    settings.setdefault("env", os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    command = [sys.executable, "tools/update.py", *options]
    result = subprocess.run(
        command, cwd=project, capture_output=True, encoding="utf-8", check=False, **settings
    )
    printed = result.stdout + result.stderr
    assert result.returncode == ends, printed
    assert "Traceback" not in printed
    return printed


@pytest.mark.parametrize(
    "content",
    [b"# Donn\xe9es priv\xe9es\n", "mydata/\r\n".encode("utf-16-le"), b"a\0b\n"],
    ids=["latin-1", "utf-16", "nul"],
)
@pytest.mark.parametrize("name", [".gitignore", "compose.yaml", "later.txt"])
def test_a_file_that_is_no_utf_8_text_keeps_every_byte(template, project, name, content):
    path = project / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + content)
    commit(project)
    was = path.read_bytes()
    release_two(template, later_txt="the template's\n")
    printed = update(project)
    assert path.read_bytes() == was
    assert f"{name} stays as it is, because it is not UTF-8 text." in printed
    assert "v2.0.0" in (project / ANSWERS).read_text()


def test_a_users_file_at_a_new_path_of_the_template_stays(template, project):
    (project / "later.txt").write_text("mine\n")
    commit(project)
    release_two(template, later_txt="the template's\n")
    assert "later.txt stays as it is, because you added it" in update(project)
    assert (project / "later.txt").read_text() == "mine\n"


def test_a_link_stays_a_link(template, project):
    (project / "shared.yaml").write_text("# shared\n")
    (project / "compose.yaml").unlink()
    (project / "compose.yaml").symlink_to("shared.yaml")
    commit(project)
    release_two(template)
    assert "compose.yaml stays as it is, because it is a link." in update(project)
    assert os.readlink(project / "compose.yaml") == "shared.yaml"
    assert (project / "shared.yaml").read_text() == "# shared\n"


def test_a_moved_file_and_its_mode_stay(template, project):
    (project / "deploy").mkdir()
    (project / "compose.yaml").rename(project / "deploy/compose.yaml")
    (project / "deploy/compose.yaml").chmod(0o755)
    (project / ".gitignore").chmod(0o755)
    commit(project)
    was = contents(project)
    release_two(template, _gitignore="# all new\n")
    update(project)
    now = contents(project)
    assert now["deploy/compose.yaml"] == was["deploy/compose.yaml"]
    assert now[".gitignore"][1:] == (True, b"# all new\n")
    assert "compose.yaml" not in now


def test_a_tracked_file_that_git_ignores_keeps_its_edits(template, project):
    for name, line in ((".gitignore", "/compose.yaml\n"), ("compose.yaml", "# mine\n")):
        with (project / name).open("a") as file:
            file.write(line)
    git(project, "add", "--force", "compose.yaml")
    commit(project)
    release_two(template)
    update(project)
    assert (project / "compose.yaml").read_text().endswith("# mine\n")


def test_an_edited_file_that_the_template_drops_stays(template, project):
    with (project / "dropped.yaml").open("a") as file:
        file.write("# mine\n")
    commit(project)
    release_two(template, dropped_yaml=None)
    assert "dropped.yaml stays as it is, because you have changed it" in update(project)
    assert (project / "dropped.yaml").read_text().endswith("# mine\n")


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
def test_edits_that_git_hides_are_refused(template, project, flag):
    git(project, "update-index", flag, "compose.yaml")
    (project / "compose.yaml").write_text("hidden\n")
    release_two(template)
    assert "Git hides edits of these" in update(project, ends=1)
    assert (project / "compose.yaml").read_text() == "hidden\n"


def test_an_ignored_file_in_the_way_is_named_and_stays(template, project):
    with (project / ".gitignore").open("a") as file:
        file.write("/later.txt\n")
    commit(project)
    (project / "later.txt").write_text("mine\n")
    release_two(template, later_txt="the template's\n")
    assert "Move these away, because the template brings them: later.txt" in update(project, ends=1)
    assert (project / "later.txt").read_text() == "mine\n"


@pytest.mark.parametrize("signal", [None, 9], ids=["refused", "killed"])
def test_an_update_that_stops_half_way_is_undone(template, project, tmp_path, signal):
    """A git takes the place of a full disk: it stops when it has changed one file of two."""
    release_two(template, later_txt="new\n", _gitignore="# all new\n")
    real = shutil.which("git")
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    end = "kill -9 $$" if signal else "echo 'No space left on device' >&2; exit 1"
    fake.write_text(
        f'#!/bin/sh\nif [ "$1" = apply ] && [ "$2" = --index ] && [ "$PWD" = {project} ]; then\n'
        f"  touch .git/index.lock; rm compose.yaml; echo half > later.txt; {end}\nfi\n"
        f'exec {real} "$@"\n'
    )
    if not signal:
        fake.write_text(fake.read_text().replace("touch .git/index.lock; ", ""))
    fake.chmod(0o755)
    was = contents(project)
    environment = os.environ | {"PATH": f"{fake.parent}:{BIN}:{os.environ['PATH']}"}
    assert "Nothing is changed." in update(project, env=environment, ends=1)
    assert contents(project) == was
    assert git(project, "status", "--porcelain") == ""


def test_an_answer_to_a_question_that_is_no_longer_asked_stays(template, project):
    settings = (template / "copier.yml").read_text()
    (template / "copier.yml").write_text(re.sub("(?m)^kind.*\n", "", settings))
    release_two(template)
    assert "kind: b stays in .copier-answers.yml, without effect" in update(project)
    assert "kind: b" in (project / ANSWERS).read_text()


def test_a_new_question_in_exclude_does_not_stop_older_projects(template, project):
    (template / "copier.yml").write_text(
        SETTINGS
        + "more: {type: bool, default: false}\n"
        + '_exclude: ["{% if not more | default(false) %}/more.txt{% endif %}"]\n'
    )
    release_two(template, more_txt="more\n")
    update(project)
    assert not (project / "more.txt").exists()
    commit(project)
    update(project, "--data", "more=true")
    assert (project / "more.txt").exists()


@pytest.mark.parametrize(("option", "ends"), [("--check", 1), ("--drift", 0)])
def test_no_program_that_data_names_is_run(project, tmp_path, option, ends):
    folder, laid_out = project / "data-template", tmp_path / "laid-out"
    laid_out.mkdir()
    (laid_out / "copier.yml").write_text("x: {type: str, default: y}\n")
    git(laid_out, "init", "--quiet", "--initial-branch", "main")
    release(laid_out, "v1.0.0")
    shutil.copytree(laid_out / ".git", folder)
    shutil.copy(laid_out / "copier.yml", folder)
    for name in ("refs", "objects"):  # A commit holds no empty folder.
        (folder / name / ".keep").write_text("")
    with (folder / "config").open("a") as file:
        file.write(
            f"[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = touch {tmp_path}/ran; false\n"
        )
    answers = (project / ANSWERS).read_text()
    (project / ANSWERS).write_text(re.sub("_src_path: .*", "_src_path: data-template", answers))
    commit(project)
    update(project, option, ends=ends)
    assert not (tmp_path / "ran").exists()


def test_the_address_is_shown_without_its_password(template, project):
    release_two(template)
    assert f"from {template}\n" in update(project, "--check")
    answers = (project / ANSWERS).read_text()
    address = "https://ada:pw@w@localhost:1/template.git"  # pragma: allowlist secret
    (project / ANSWERS).write_text(re.sub("_src_path: .*", f"_src_path: {address}", answers))
    commit(project)
    printed = update(project, ends=1)
    assert "https://localhost:1/template.git" in printed
    assert "pw" not in printed and "w@" not in printed
    assert "correct _src_path" in printed


def test_an_address_that_is_not_that_of_the_last_update_is_named(template, project, tmp_path):
    release_two(template)
    assert "another address" not in update(project, "--check")
    other = shutil.copytree(template, tmp_path / "other")
    answers = (project / ANSWERS).read_text()
    (project / ANSWERS).write_text(re.sub("_src_path: .*", f"_src_path: {other}", answers))
    commit(project)
    assert (f"from {other}\nThe last update came from another address: {template}\n") in update(
        project
    )


def test_no_diff_of_the_answers_shows_a_password(template, project, tmp_path):
    release_two(template)
    address = "https://ada:pw@template.example.org/t.git"  # pragma: allowlist secret
    answers = (project / ANSWERS).read_text()
    (project / ANSWERS).write_text(re.sub("_src_path: .*", f"_src_path: {address}", answers))
    commit(project)
    settings = tmp_path / "settings"
    settings.write_text(f'[url "{template}"]\n\tinsteadOf = {address}\n')
    environment = os.environ | {
        "COPIER_CACHE_DIR": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": str(settings),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    for option, shown in (
        ("--check", " _src_path: https://template.example.org/t.git"),
        ("--drift", ""),
    ):
        printed = update(project, option, env=environment)
        assert shown in printed
        assert "pw@" not in printed


def test_a_folder_in_the_place_of_a_file_is_named_as_the_cause(template, project):
    (project / "compose.yaml").unlink()
    (project / "compose.yaml").mkdir()
    (project / "compose.yaml/mine.yaml").write_text("mine\n")
    commit(project)
    release_two(template)
    assert "There is a folder where the template has a file" in update(project, ends=1)


def test_other_owners_and_a_missing_git_are_named_as_the_cause(template, project, tmp_path):
    release_two(template)
    (tmp_path / "bin").mkdir()
    without_git = os.environ | {"PATH": str(tmp_path / "bin")}
    assert "There is no git on this machine" in update(project, env=without_git, ends=1)
    path = f"{BIN}:{os.environ['PATH']}"
    other_owner = os.environ | {"PATH": path, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    assert "dubious ownership" in update(project, env=other_owner, ends=1)


def test_a_template_of_another_owner_is_read_where_allowed(template, project, tmp_path):
    release_two(template)
    if os.getuid():
        pytest.skip("only root can give a folder away")
    for path in [template, *template.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    settings = tmp_path / "settings"
    settings.write_text(f"[safe]\n\tdirectory = {template}\n\tdirectory = {template}/.git\n")
    assert "v1.0.0 -> v2.0.0" in update(
        project,
        env=os.environ
        | {"GIT_CONFIG_GLOBAL": str(settings), "PATH": f"{BIN}:{os.environ['PATH']}"},
    )


def test_an_old_copier_on_the_path_is_not_used(template, project, tmp_path):
    release_two(template)
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin/copier"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "copier 9.10.3" && exit\nexit 9\n')
    old.chmod(0o755)
    environment = os.environ | {"PATH": f"{old.parent}:{BIN}:{os.environ['PATH']}"}
    assert "v1.0.0 -> v2.0.0" in update(project, env=environment)
    run("git", "restore", "--staged", "--worktree", ".", cwd=project)
