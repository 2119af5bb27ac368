"""Make projects as a person does: `copier copy`, without --trust, with an empty HOME."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.render.file_parsers import check, files
from tests.support import BIN, QUESTIONS, ROOT, git, run

SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
OLDEST_COPIER = SETTINGS["_min_copier_version"]
GOOD = [
    {},
    {"stack": "minimal", "ci": "gitlab", "license": "Apache-2.0", "python_version": "3.11"},
    {"project_name": 'Ünïcode 🐦 & "quotes" $(id)', "ci": "none", "license": "Proprietary"},
    {"description": "x" * 200, "author_name": "x" * 120, "project_name": "x" * 100},
    {"description": ""},
    {"project_slug": "42", "package_name": "x", "author_email": "ada+birds@sub.example.org"},
]
BAD = [
    ("project_name", ""),
    ("project_name", " "),
    ("project_name", "x "),
    ("project_name", "x" * 200),
    ("project_name", "two\nlines"),
    ("project_name", "{{ 7 * 7 }}"),
    ("project_name", "{% raw %}"),
    ("project_name", "{# x #}"),
    ("project_slug", "Birds"),
    ("project_slug", "-rf"),
    ("project_slug", ".."),
    ("project_slug", "a/b"),
    ("project_slug", "numpy"),
    ("project_slug", "jupyterlab"),
    ("project_slug", "x" * 64),
    ("package_name", "bird-songs"),
    ("package_name", "/etc/passwd"),
    ("package_name", "../escaped"),
    ("package_name", "class"),
    ("package_name", "json"),
    ("package_name", "sklearn"),
    ("package_name", "été"),
    ("description", "a\x1b[31mb"),
    ("author_name", "\u202eevil"),
    ("author_email", "ada"),
    ("author_email", 'a"@example.org'),
    ("license", "GPL-3.0"),
    ("python_version", "3.8"),
    ("stack", "kitchen-sink"),
    ("ci", "../.."),
]


@pytest.fixture
def person(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in; HOME is empty too, and git knows no name to commit under."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("answers", GOOD, ids=str)
def test_copier_copy_needs_neither_trust_nor_a_git_identity(person, template, answers):
    copy(template, "project", answers)
    check(person / "project")
    stored = yaml.safe_load((person / "project/.copier-answers.yml").read_text(encoding="utf-8"))
    assert answers.items() <= stored.items()
    assert os.listdir(person) == ["project"]


@pytest.mark.parametrize(("question", "answer"), BAD, ids=repr)
def test_a_bad_answer_gets_one_sentence_and_leaves_nothing(person, template, question, answer):
    result = copy(template, "project", {question: answer}, fails=True)
    last_line = result.stderr.splitlines()[-1]
    if "choices" in QUESTIONS[question]:
        assert "Invalid choice" in last_line
    else:
        sentence = last_line.split(f"Validation error for question '{question}': ")[1]
        assert re.search(r"(, like|; try) \S", sentence), f"no good example in: {sentence}"
        assert len(last_line.removeprefix("ValueError: ")) <= 80, f"cut at 80 columns: {last_line}"
    assert os.listdir(person) == []


@pytest.mark.parametrize("name", ["my-project", """it's a "new" project $(touch oops) & `id`"""])
def test_the_commands_that_copier_prints_work_as_printed(person, template, monkeypatch, name):
    printed = copy(template, name, {"stack": "minimal"}).stderr
    commands = re.search(r"Now paste:\n\n((?: +\S.*\n)+)", printed)[1]
    assert [shlex.split(line)[0] for line in commands.splitlines()] == [
        *("cd", "git", "git", "git", "make")
    ]
    if name == "my-project":  # Installing is slow, and the other name is the harder one.
        commands = commands.replace("make setup", "make")

    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    run("sh", "-eu", input=commands)
    assert os.listdir(person) == [name]
    assert git(person / name, "status", "--porcelain") == ""
    assert git(person / name, "log", "--format=%s") == "Start the project\n"
    if name != "my-project":
        assert (person / name / ".git/hooks/pre-commit").exists()
        command = "import my_ai_project, sys; print(sys.prefix)"
        prefix = run(person / name / ".venv/bin/python", "-c", command).stdout.strip()
        assert prefix == str(person / name / ".venv")
        run("make", "lint", cwd=person / name)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_a_default_and_says_what_it_is_for(name):
    question = QUESTIONS[name]
    assert question.keys() >= {"help", "default"}
    assert len(f"🎤 {question['help']} ") < 80, "a terminal of 80 columns cuts it"
    assert not question["help"].endswith(".")
    if isinstance(question["default"], str) and "choices" not in question:
        assert "validator" in question, f"{name} takes any text"


def test_nothing_in_the_template_needs_trust():
    assert not SETTINGS.keys() & {"_tasks", "_migrations", "_jinja_extensions"}


def test_the_oldest_allowed_copier_makes_the_same_project(person, template, tmp_path):
    oldest = install_copier(tmp_path / "oldest", f"copier=={OLDEST_COPIER}")
    copy(template, "now", {})
    copy(template, "then", {}, copier=oldest)
    assert files(person / "now") == files(person / "then")
    for name in files(person / "now"):
        assert (person / "now" / name).read_bytes() == (person / "then" / name).read_bytes(), name


def test_an_older_copier_is_told_which_one_it_takes(person, template, tmp_path):
    older = install_copier(tmp_path / "older", f"copier<{OLDEST_COPIER}")
    result = copy(template, "project", {}, copier=older, fails=True)
    assert OLDEST_COPIER in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(person) == []


def copy(template, name, answers, copier=BIN / "copier", **options) -> subprocess.CompletedProcess:
    data = [f"--data={question}={answer}" for question, answer in answers.items()]
    return run(copier, "copy", "--defaults", *data, template, name, **options)


def install_copier(folder: Path, requirement: str) -> Path:
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, folder)
    run(BIN / "uv", "pip", "install", "--quiet", "--python", folder, requirement)
    return folder / "bin/copier"
