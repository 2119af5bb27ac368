"""Answers can be changed later, and the questions of a new version take the old answers over."""

import re
import shutil
import subprocess

import jinja2
import pytest
import yaml

from tests.support import QUESTIONS, ROOT, choices, git, run
from tests.update.template_versions import (
    ANSWERS,
    NEWEST,
    SETTINGS,
    TYPICAL_EDITS,
    check,
    commit,
    contents,
    copy,
    edit_the_templates,
    release,
    sources,
    work,
)

AT_ONE = "--vcs-ref=v1.0.0"
CHOICES = [
    (question, choice)
    for question in QUESTIONS
    if "choices" in QUESTIONS[question]
    for choice in choices(question)
    if choice != QUESTIONS[question]["default"]
]


@pytest.mark.parametrize(("question", "choice"), CHOICES, ids="=".join)
def test_each_choice_can_be_taken_later(project, fresh, versions, tmp_path, question, choice):
    project = project()
    changed_ci = {path for path in TYPICAL_EDITS if question == "ci" and "ci" in path}
    edits = {path: edit for path, edit in TYPICAL_EDITS.items() if path not in changed_ci}
    edit_the_templates(project, edits)
    work(project)
    was = contents(project)
    commit(project)
    change = f"--data={question}={choice}"
    run(*NEWEST, "update", "--defaults", AT_ONE, change, cwd=project)
    new = copy(versions, tmp_path / "new", "v1.0.0", **{question: choice})
    check(project, was, fresh("v1.0.0"), new, edits)


def test_alpine_taken_later_loses_no_list_of_packages(project):
    project = project()
    lists = {"docker/apt-run.txt": "libpq5\n", "docker/apt-build.txt": "gcc\n"}
    for path, text in lists.items():
        (project / path).write_text(text)
    commit(project)
    run(*NEWEST, "update", "--defaults", AT_ONE, "--data=base_image=alpine", cwd=project)
    assert {path: (project / path).read_text() for path in lists} == lists
    docker = {path.name for path in (project / "docker").iterdir()}
    assert {"apk-install", "build-wheels"} <= docker
    assert "apt-install" not in docker
    assert "alpine" in (project / "Dockerfile").read_text()


def test_a_users_file_can_be_brought_back_with_a_new_answer(project, versions, tmp_path):
    project = project()
    edit_the_templates(project, TYPICAL_EDITS)
    commit(project)
    was = contents(project)
    run(*NEWEST, "update", "--defaults", "--data=license=BSD-3-Clause", AT_ONE, cwd=project)
    assert (project / "LICENSE").read_text().startswith("MIT")
    commit(project)
    (project / "LICENSE").unlink()
    run(*NEWEST, "recopy", "--defaults", "--skip=*", "--vcs-ref=:current:", cwd=project)
    now = contents(project)
    new = copy(versions, tmp_path / "new", "v1.0.0", license="BSD-3-Clause")
    assert (project / "LICENSE").read_text() == (new / "LICENSE").read_text()
    assert {path for path in now if now[path] != was.get(path)} == {"LICENSE", ANSWERS}


# The rules for questions, which docs/how-to/release-the-template.md explains.


def broken_rules(old: dict, new: dict) -> list[str]:
    """What the settings and questions of a version do to projects of an older one."""
    broken = [f"{key} needs --trust" for key in new if key in FORBIDDEN]
    was = {name: question for name, question in old.items() if not name.startswith("_")}
    now = {name: question for name, question in new.items() if not name.startswith("_")}
    for name, question in now.items():
        if "default" not in question:
            broken.append(f"{name} has no default")
    for name, question in was.items():
        if name in now:
            lost = set(values(question)) - set(values(now[name]))
            broken += [f"{name} has lost the choice {choice}" for choice in sorted(lost)]
        elif not any(re.search(rf"\b{name}\b", str(now[n]["default"])) for n in now.keys() - was):
            broken.append(f"{name} is gone, and the default of no new question takes it over")
    lost = set(old["_skip_if_exists"]) - set(new["_skip_if_exists"])
    broken += [f"{path} was the user's" for path in sorted(lost)]
    return broken + [reason for entry in new["_exclude"] for reason in undefined(entry)]


def undefined(entry: str) -> list[str]:
    """Why an entry of _exclude stops an update: it uses an answer that an older project does not have."""
    try:
        jinja2.Template(entry, undefined=jinja2.StrictUndefined).render(_copier_operation="update")
    except jinja2.UndefinedError as error:
        return [f"_exclude: {error}"]
    return []


FORBIDDEN = {"_tasks", "_migrations", "_jinja_extensions"}


def values(question: dict) -> list[str]:
    offered = question.get("choices", [])
    return list(offered.values()) if isinstance(offered, dict) else offered


@pytest.mark.parametrize(
    ("before", "after", "broken"),
    [
        ("", "", None),
        ("default: github", "default: none", None),
        ("{ GitHub: github, ", "{ ", "ci has lost the choice github"),
        ('["3.11", ', "[", "python_version has lost the choice 3.11"),
        ('  default: "3.13"\n', "", "python_version has no default"),
        ("\nci:\n", "\nwhere:\n", "ci is gone, and the default of no new question takes it over"),
        ('"/notebooks/", ', "", "/notebooks/ was the user's"),
        ("    /src/\n", "    {{ ci }}\n", "_exclude: 'ci' is undefined"),
        ("    /src/\n", "    {{ ci | default('') }}\n", None),
        ("\nci:\n", "\n_tasks: [ls]\nci:\n", "_tasks needs --trust"),
    ],
)
def test_each_broken_rule_is_found(before, after, broken):
    text = (ROOT / "copier.yml").read_text(encoding="utf-8")
    assert before in text
    new = yaml.safe_load(text.replace(before, after, 1))
    assert broken_rules(yaml.safe_load(text), new) == ([broken] if broken else [])


def released() -> list[str]:
    """The tags of this repository that Copier takes for versions."""
    tags = subprocess.run(
        ["git", "-C", ROOT, "tag", "--sort=version:refname"],
        capture_output=True,
        check=False,
        encoding="utf-8",
    ).stdout.split()
    return [tag for tag in tags if re.fullmatch(r"v\d+(\.\d+)*", tag)]


@pytest.mark.parametrize("tag", released())
def test_this_version_breaks_no_rule_towards_a_released_one(tag):
    old = yaml.safe_load(git(ROOT, "show", f"{tag}:copier.yml"))
    assert broken_rules(old, SETTINGS | QUESTIONS) == []


@pytest.mark.parametrize("tag", released())
def test_a_project_of_a_released_version_gets_this_one(tag, tmp_path):
    history = tmp_path / "template"
    run("git", "clone", "--quiet", ROOT, history)
    for part in ("copier.yml", "includes", "locks", "template"):
        git(history, "rm", "-r", "--quiet", "--ignore-unmatch", part)
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, history / part)
    release(history, "v9999")
    old = copy(history, tmp_path / "old", tag)
    project = shutil.copytree(old, tmp_path / "project")
    edit_the_templates(project, TYPICAL_EDITS)
    work(project)
    was = contents(project)
    commit(project)
    run(*NEWEST, "update", "--defaults", cwd=project)
    check(project, was, old, copy(history, tmp_path / "new", "v9999"), TYPICAL_EDITS)


@pytest.fixture
def evolving(template, tmp_path):
    evolving = tmp_path / "evolving"
    return shutil.copytree(template, evolving)


def test_a_renamed_question_carries_the_old_answer(evolving, tmp_path):
    project = copy(evolving, tmp_path / "project", "v1.0.0", python_version="3.11")
    commit(project)
    was = contents(project)
    settings = (evolving / "copier.yml").read_text()
    settings = settings.replace("\npython_version:\n", "\ninterpreter:\n")
    settings = settings.replace(
        'default: "3.13"', "default: \"{{ python_version | default('3.13') }}\""
    )
    (evolving / "copier.yml").write_text(settings)
    for source in sources(evolving).values():
        text = source.read_text(encoding="utf-8")
        text = re.sub(r"({[{%][^}]*)\bpython_version\b", r"\1interpreter", text)
        source.write_text(text, encoding="utf-8")
    release(evolving, "v1.1.0")

    run(*NEWEST, "update", "--defaults", cwd=project)
    answers = yaml.safe_load((project / ANSWERS).read_text())
    assert answers["interpreter"] == "3.11"
    assert "python_version" not in answers
    now = contents(project)
    assert {path for path in now | was if now.get(path) != was.get(path)} == {ANSWERS}


def test_a_new_question_with_a_default_changes_no_old_project(evolving, tmp_path):
    project = copy(evolving, tmp_path / "project", "v1.0.0")
    commit(project)
    was = contents(project)
    with (evolving / "copier.yml").open("a") as file:
        file.write("\nspelling:\n  type: bool\n  default: false\n")
    path = evolving / "template/{% if spelling %}spelling.txt{% endif %}.jinja"
    path.write_text("owl\n")
    release(evolving, "v1.1.0")
    run(*NEWEST, "update", "--defaults", cwd=project)
    now = contents(project)
    assert {path for path in now if now[path] != was.get(path)} == {ANSWERS}
    assert "spelling: false" in (project / ANSWERS).read_text()
    commit(project)
    run(*NEWEST, "update", "--defaults", "--data", "spelling=true", cwd=project)
    assert (project / "spelling.txt").exists()


def test_the_answers_file_says_how_to_change_an_answer(fresh):
    head = (fresh("v1.0.0") / ANSWERS).read_text().partition("_commit")[0]
    assert "Edit nothing but _src_path" in head
    assert "make update DATA=python_version=3.14" in head
