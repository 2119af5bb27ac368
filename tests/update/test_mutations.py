"""Whatever people and the template do to their files, an update brings one and keeps the other."""

import nbformat
import pytest

from tests.support import run
from tests.update.conftest import ANSWERS
from tests.update.template_versions import (
    NEWEST,
    OLDEST,
    TYPICAL_EDITS,
    USERS,
    before,
    check,
    commit,
    contents,
    edit_the_templates,
    work,
)

KINDS = {
    "appended": lambda file: file.write_bytes(file.read_bytes() + b"mine\n"),
    "prepended": lambda file: file.write_bytes(b"mine\n" + file.read_bytes()),
    "without its last newline": lambda file: file.write_bytes(file.read_bytes().rstrip(b"\n")),
    "rewritten": lambda file: file.write_bytes(b"mine\n"),
    "emptied": lambda file: file.write_bytes(b""),
    "with other line ends": lambda f: f.write_bytes(f.read_bytes().replace(b"\n", b"\r\n")),
    "binary": lambda file: file.write_bytes(bytes(range(256))),
    "executable": lambda file: file.chmod(0o755),
    "deleted": lambda file: file.unlink(),
    "renamed": lambda file: file.rename(file.with_name(f"my-{file.name}")),
    "a folder": lambda file: (file.unlink(), file.mkdir(), (file / "mine").write_text("mine\n")),
    "a link": lambda file: (file.unlink(), file.symlink_to("nowhere")),
}


def update(project, copier=NEWEST, version="v2.0.0") -> None:
    run(*copier, "update", "--defaults", "--vcs-ref", version, cwd=project)


@pytest.mark.parametrize("route", [["v2.0.0"], ["v1.1.0", "v1.2.0", "v2.0.0"]], ids="-".join)
@pytest.mark.parametrize("copier", [NEWEST, OLDEST], ids=["newest copier", "oldest copier"])
@pytest.mark.parametrize("answers", ANSWERS)
def test_an_update_keeps_typical_work_and_brings_every_change(
    project, fresh, answers, copier, route
):
    project = project(answers)
    edit_the_templates(project, TYPICAL_EDITS)
    work(project)
    was = contents(project)
    version = "v1.0.0"
    for next_version in route:
        commit(project)
        update(project, copier, next_version)
        old, new = fresh(version, answers), fresh(next_version, answers)
        check(project, was, old, new, TYPICAL_EDITS)
        version = next_version
    for notebook in project.glob("notebooks/*.ipynb"):
        nbformat.validate(nbformat.reads(notebook.read_text(), as_version=nbformat.NO_CONVERT))


@pytest.mark.parametrize("turn", range(len(KINDS)))
def test_an_update_keeps_every_kind_of_edit_in_users_files(project, fresh, turn):
    project = project()
    kinds = list(KINDS.values())
    users = sorted(filter(USERS.match_file, contents(project)))
    for number, path in enumerate(users):
        kinds[(number + turn) % len(kinds)](project / path)
    was = contents(project)
    commit(project)
    update(project)
    check(project, was, fresh("v1.0.0"), fresh("v2.0.0"))


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_line_in_the_middle_of_every_template_file_stays(project, fresh, answers):
    project = project(answers)
    edits = {}
    for path in contents(project):
        if not USERS.match_file(path) and path != ".copier-answers.yml":
            lines = (project / path).read_text(encoding="utf-8").splitlines(keepends=True)
            # Next to a line that the template changes, too, there would be a conflict.
            inner = [line for line in lines[3:-3] if line.strip() and lines.count(line) == 1]
            if inner:
                edits[path] = before(inner[len(inner) // 2], "# A line of mine.\n")
    edit_the_templates(project, edits)
    was = contents(project)
    commit(project)
    update(project)
    check(project, was, fresh("v1.0.0", answers), fresh("v2.0.0", answers), edits)
    assert len(edits) > 5


def test_files_of_the_template_that_somebody_deleted_stay_away(project, fresh):
    project = project()
    for path in (".gitattributes", ".github/workflows/ci.yml"):
        (project / path).unlink()
    commit(project)
    update(project)
    assert not (project / ".gitattributes").exists()
    assert not (project / ".github/workflows/ci.yml").exists()


def test_a_second_update_to_the_same_version_changes_nothing(project):
    project = project()
    edit_the_templates(project, TYPICAL_EDITS)
    work(project)
    commit(project)
    update(project)
    commit(project)
    was = contents(project)
    update(project)
    assert contents(project) == was


def test_a_project_works_after_an_update(project):
    project = project()
    edit_the_templates(project, TYPICAL_EDITS)
    commit(project)
    update(project)
    commit(project)
    run("make", "setup", cwd=project)
    run("make", "test", cwd=project)
