"""`make update`, with the programs and the git settings that people have."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support import ROOT, git, run
from tests.update.template_versions import (
    ANSWERS,
    BIN,
    SETTINGS,
    TYPICAL_EDITS,
    below,
    check,
    commit,
    contents,
    edit_the_templates,
    work,
)


@pytest.fixture(scope="session")
def environment(computer) -> dict[str, str]:
    return computer("copier")


def make_update(project: Path, environment: dict[str, str], *options: str, fails=False) -> str:
    result = run("make", "update", *options, cwd=project, env=environment, fails=fails)
    return result.stdout + result.stderr


def test_it_updates_shows_what_changed_and_says_what_to_do(project, fresh, environment):
    project = project()
    edit_the_templates(project, TYPICAL_EDITS)
    work(project)
    was = contents(project)
    commit(project)
    printed = make_update(project, environment)
    check(project, was, fresh("v1.0.0"), fresh("v2.0.0"), TYPICAL_EDITS)
    assert "Template v1.0.0 -> v2.0.0" in printed
    assert "tools/renamed.py" in printed
    # All of it is staged: a commit keeps it, and one command undoes it.
    assert git(project, "diff", "--name-only") == ""
    assert git(project, "ls-files", "--others") == ""
    for command in ("git diff --staged", "git commit", "git restore --staged --worktree ."):
        assert command in printed
    run("git", "restore", "--staged", "--worktree", ".", cwd=project)
    assert contents(project) == was

    make_update(project, environment)
    commit(project)
    assert "Nothing to do: v2.0.0 is the newest" in make_update(project, environment)


def test_it_shows_what_would_come_and_writes_nothing(committed, environment):
    def everything() -> dict:
        return {path: path.stat().st_mtime_ns for path in committed.rglob("*")}

    git(committed, "status")
    was = everything()
    printed = make_update(committed, environment, "CHECK=1")
    assert "Template v1.0.0 -> v2.0.0" in printed
    assert "+# stamped by v2.0.0" in printed
    assert everything() == was


@pytest.mark.parametrize("change", ["README.md", "new.txt"])
def test_it_refuses_uncommitted_changes(committed, environment, change):
    (committed / change).write_text("mine\n")
    was = contents(committed)
    printed = make_update(committed, environment, fails=True)
    assert "Commit or stash your changes first" in printed
    assert change in printed
    assert contents(committed) == was


@pytest.mark.parametrize("answers", [None, "half of it\n"], ids=["whole", "killed"])
def test_it_says_how_to_undo_an_update_that_was_not_committed(committed, environment, answers):
    make_update(committed, environment)
    if answers:
        (committed / ".copier-answers.yml").write_text(answers)
    printed = make_update(committed, environment, fails=True)
    assert "An update is not committed yet" in printed
    assert "git restore --staged --worktree ." in printed


def test_it_starts_from_a_commit(project, environment):
    project = project()
    assert "starts from a commit" in make_update(project, environment, fails=True)
    git(project, "init", "--quiet")
    assert "starts from a commit" in make_update(project, environment, fails=True)


def test_it_gets_copier_from_uv_where_there_is_none(committed, computer, fresh):
    was = contents(committed)
    make_update(committed, computer("uv"))
    check(committed, was, fresh("v1.0.0"), fresh("v2.0.0"))


def test_the_copier_that_uv_gets_is_one_that_the_template_admits():
    script = (ROOT / "template/tools/update.py").read_text(encoding="utf-8")
    assert f'"copier>={SETTINGS["_min_copier_version"]},' in script


def test_it_says_what_is_missing_without_copier_and_uv(committed, computer):
    printed = make_update(committed, computer(), fails=True)
    assert "There is neither uv nor copier>=9.18" in printed


HOSTILE = """
[apply]
    whitespace = error
[core]
    attributesFile = {folder}/attributes
    autocrlf = true
    excludesFile = {folder}/ignore
    fsmonitor = false
    hooksPath = {folder}/hooks
[init]
    templateDir = {folder}/templates
[status]
    showUntrackedFiles = no
[diff]
    external = false
    noprefix = true
    mnemonicPrefix = true
[color]
    ui = always
[commit]
    gpgSign = true
[merge]
    conflictStyle = zdiff3
"""


@pytest.mark.parametrize("where", ["global", "local", "unnamed"])
def test_git_settings_of_a_person_do_no_harm(project, fresh, environment, tmp_path, where):
    project = project()
    edits = TYPICAL_EDITS | {".gitignore": below("blanks-behind/  \n")}
    edit_the_templates(project, edits)
    work(project)
    was = contents(project)
    commit(project)
    for folder in ("hooks", "templates/info"):
        (tmp_path / folder).mkdir(parents=True)
    for hook in ("pre-commit", "post-checkout", "post-index-change"):
        (tmp_path / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    (tmp_path / "attributes").write_text("*.py filter=gone\n.gitignore -text\n")
    (tmp_path / "ignore").write_text(".gitattributes\nMakefile\n.pre-commit-config.yaml\n*.py\n")
    shutil.copy(tmp_path / "ignore", tmp_path / "templates/info/exclude")
    settings = tmp_path / "settings"
    settings.write_text(HOSTILE.format(folder=tmp_path))
    if where == "local":
        git(project, "config", "include.path", str(settings))
    elif where == "unnamed":
        (tmp_path / "git").mkdir()
        shutil.copy(tmp_path / "attributes", tmp_path / "git")
        shutil.copy(tmp_path / "ignore", tmp_path / "git")
        environment = environment | {"XDG_CONFIG_HOME": str(tmp_path)}
    else:
        environment = environment | {"GIT_CONFIG_GLOBAL": str(settings)}
    make_update(project, environment)
    check(project, was, fresh("v1.0.0"), fresh("v2.0.0"), edits)


@pytest.mark.parametrize("recorded", ["https://git.example.org/my/template", "gh:my/template"])
def test_git_settings_that_reach_the_template_are_kept(
    committed, versions, environment, tmp_path, recorded
):
    source = (committed / ANSWERS).read_text()
    (committed / ANSWERS).write_text(source.replace(str(versions), f"{recorded}.git"))
    commit(committed)
    addresses = ["https://git.example.org/my/template", "https://github.com/my/template"]
    settings = tmp_path / "settings"
    settings.write_text(
        f'[url "{versions}"]\n' + "".join(f"insteadOf={a}.git\n" for a in addresses)
    )
    environment = environment | {
        "COPIER_CACHE_DIR": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": str(settings),
    }
    assert "v1.0.0 -> v2.0.0" in make_update(committed, environment)
    assert f"_src_path: {recorded}.git" in (committed / ANSWERS).read_text()


def test_variables_of_a_git_hook_lead_to_no_other_repository(committed, environment, versions):
    hook = {
        "GIT_DIR": f"{committed}/.git",
        "GIT_WORK_TREE": str(committed),
        "GIT_EXTERNAL_DIFF": "no",
    }
    head = git(versions, "rev-parse", "HEAD")
    assert "v1.0.0 -> v2.0.0" in make_update(committed, environment | hook)
    assert git(versions, "rev-parse", "HEAD") == head
    assert git(committed, "diff", "--staged", "--name-only")


def test_it_changes_answers(committed, environment):
    make_update(committed, environment, "DATA=python_version=3.12 description='Two words'")
    answers = (committed / ANSWERS).read_text()
    assert "python_version: '3.12'" in answers
    assert "description: Two words" in answers


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("python_version=9.9", "Invalid choice for 'python_version': '9.9' is not in"),
        ("pyton_version=3.12", "The template does not ask for pyton_version"),
        ("project_slug=A_B", "Use a-z, 0-9, -, like bird-songs"),
        ("3.12", "3.12 is not KEY=VALUE"),
    ],
)
def test_it_refuses_bad_answers(committed, environment, data, sentence):
    was = contents(committed)
    printed = make_update(committed, environment, f"DATA={data}", fails=True)
    assert sentence in printed
    assert "Traceback" not in printed
    assert contents(committed) == was


def test_it_says_that_a_template_cannot_be_reached(committed, environment):
    source = (committed / ANSWERS).read_text()
    lines = [line for line in source.splitlines() if not line.startswith("_src_path")]
    (committed / ANSWERS).write_text("\n".join([*lines, "_src_path: ../nowhere"]) + "\n")
    commit(committed)
    printed = make_update(committed, environment, fails=True)
    assert "Copier on ../nowhere: Local template must be a directory." in printed
    assert "If the template has moved, correct _src_path in .copier-answers.yml" in printed
    assert "Traceback" not in printed


def test_it_marks_lines_that_both_changed_and_ends_with_3(project, environment):
    project = project()
    edit_the_templates(project, {".gitignore": lambda text: text.replace("# Secrets", "# Mine")})
    commit(project)
    printed = run("python3", "tools/update.py", "--check", cwd=project, env=environment, fails=True)
    assert "changed the same lines in: .gitignore" in printed.stdout
    result = run("python3", "tools/update.py", cwd=project, env=environment, fails=True)
    assert result.returncode == printed.returncode == 3
    assert "changed the same lines in: .gitignore" in result.stdout
    text = (project / ".gitignore").read_text()
    assert "<<<<<<< before updating\n# Mine\n" in text
    assert ">>>>>>> after updating\n" in text


def test_an_edited_file_that_the_template_drops_stays(project, environment):
    project = project()
    git(project, "init", "--quiet")
    with (project / ".github/workflows/ci.yml").open("a") as file:
        file.write("      - run: make mine\n")
    text = (project / ".github/workflows/ci.yml").read_text()
    commit(project)
    printed = make_update(project, environment, "DATA=ci=gitlab")
    assert ".github/workflows/ci.yml stays as it is, because you have changed it" in printed
    assert (project / ".github/workflows/ci.yml").read_text() == text
    assert (project / ".gitlab-ci.yml").exists()


def test_a_file_that_git_ignores_is_not_overwritten(project, environment):
    project = project()
    edit_the_templates(project, {".gitignore": below("/tools/renamed.py\n")})
    commit(project)
    (project / "tools/renamed.py").write_text("mine\n")
    was = contents(project)
    printed = make_update(project, environment, fails=True)
    assert "Move these away, because the template brings them: tools/renamed.py" in printed
    assert contents(project) == was


def test_drift_shows_edits_of_template_files_and_nothing_else(project, environment):
    project = project()
    edit_the_templates(project, TYPICAL_EDITS)
    work(project)
    commit(project)
    was = contents(project)
    printed = make_update(project, environment, "DRIFT=1")
    assert "+scratch/" in printed
    assert "+    timeout-minutes: 60" in printed
    assert "-    timeout-minutes: 30" in printed
    shown = {line.split()[-1] for line in printed.splitlines() if line.startswith("diff --git")}
    drifted = {path for path in TYPICAL_EDITS if (project / path).exists()}
    assert {path.partition("/")[2] for path in shown} == drifted
    assert contents(project) == was


def test_a_new_project_has_no_drift(committed, environment):
    assert "as the template makes them" in make_update(committed, environment, "DRIFT=1")


def test_it_works_in_a_subfolder_of_a_repository(fresh, environment, tmp_path):
    shutil.copytree(fresh("v1.0.0"), tmp_path / "all/part")
    (tmp_path / "all/README.md").write_text("All\n")
    commit(tmp_path / "all")
    (tmp_path / "all/not-of-the-project.txt").write_text("not committed\n")
    was = contents(tmp_path / "all/part")
    make_update(tmp_path / "all/part", environment)
    check(tmp_path / "all/part", was, fresh("v1.0.0"), fresh("v2.0.0"))
    (tmp_path / "all/not-of-the-project.txt").unlink()
    commit(tmp_path / "all")
    assert "as the template makes" in make_update(tmp_path / "all/part", environment, "DRIFT=1")


@pytest.mark.parametrize(
    "kind",
    [
        ["worktree", "add", "--quiet", "-b", "other"],
        ["clone", "--quiet", "--depth=1", "--no-local", "."],
        ["clone", "--quiet", "--filter=blob:none", "--no-local", "."],
    ],
    ids=["worktree", "shallow", "partial"],
)
def test_it_works_in_other_kinds_of_checkouts(committed, fresh, environment, tmp_path, kind):
    git(committed, "config", "uploadpack.allowFilter", "true")
    commit(committed)
    other = tmp_path / "other"
    git(committed, *kind, str(other))
    was = contents(other)
    make_update(other, environment)
    check(other, was, fresh("v1.0.0"), fresh("v2.0.0"))


def test_variables_of_the_environment_do_not_steer_make(committed):
    makefile = (committed / "Makefile").read_text()
    names = set(re.findall(r"^([A-Z_]+) :?=", makefile, re.MULTILINE))
    assert names > {"ARGS", "CHECK", "DATA", "DRIFT", "PACKAGES", "STAGE"}
    show = ["make", "--dry-run", *re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE)]
    # ENGINE is meant to be set for all projects of a machine.
    steered = os.environ | dict.fromkeys(names - {"ENGINE"}, "steered")
    printed = run(*show, cwd=committed, env=steered).stdout
    assert printed == run(*show, cwd=committed).stdout
    assert "steered" not in printed


def test_help_names_the_options_and_exit_codes(committed):
    printed = run(BIN / "python", committed / "tools/update.py", "--help", cwd=os.sep).stdout
    for word in ("--check", "--drift", "--data", "Exit codes"):
        assert word in printed
