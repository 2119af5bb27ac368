"""Hostile answers: each gives a project that works and holds it unchanged, or is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import chdir
from pathlib import Path

import copier
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.render.file_parsers import check
from tests.support import commit_all, git

QUESTIONS = [
    ["project_name"],
    ["description", "author_name"],
    ["author_email"],
    ["project_slug"],
    ["package_name"],
]
TEXTS = ["project_name", "description", "author_name"]
HOSTILE = [
    *("{{ 7 * 7 }}", "{% raw %}", "{% endraw %}", "{# x #}", "}}", "%}", "{ {x} }", "{{{", "#}"),
    *("$(touch x)", "`touch x`", "${HOME}", "$$", "; touch x", "| touch x", "> x", "!!", "~", "*"),
    *('"', '"""', "'", "'''", "\\", "\\n", "\\u0041", "\\", "%s", "%(x)s", "&amp;", "<b>", "-->"),
    *("\n", "\r", "\t", "\0", "\x07", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\ud800"),
    *("\u202e", "\u200f", "\u200b", "\u00a0", "\u3000", "é", "e\u0301", "漢字", "🐦", "👩‍💻", "٣"),
    *("-", "--help", "-rf", ".", "..", "../..", "/etc/passwd", "C:\\x", "~/x", "a/b", "CON", "nul"),
    *("class", "None", "json", "site", "test", "numpy", "pip", "scikit-learn", "src", "tests"),
    *("", " ", " x", "x ", "x" * 200, "0", "1e5", "yes", "null", "[a]", "{a: b}", "key: value"),
    *("# x", "- x", "> x", "| x", "@x", "&x", "*x", "!x", "%x", "? x", "---", "...", "=", "==="),
    *("a:", "a #b", "'a", '"a', "0x10", "2026-01-01", "<<", "=2", "a@b.c", "a@example.org"),
]
# What Copier, which reads stored answers again at each update, could take for something else.
ACCEPTED = [
    ("}}", "%} #}", "{ {x} }"),
    ("{ % x % }", "\\", "\\n\\u0041"),
    ("$(touch x)", "`x`", "${HOME}"),
    ("'", '"', 'it\'s "x"'),
    ("null", "yes", "1e5"),
    ("[a]", "{a: b}", "key: value"),
    ("a #b", "- x", "x" * 90),
    ("x " * 40 + "x", "a  b   c", "👩‍💻 é 漢字"),
]
answers = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="abc-_.AZ09 ", max_size=70),
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=4).map("".join),
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=4).map(" ".join),
)


def examples(texts: list[str]):
    """Try hostile texts as they are, before any made of them."""

    def decorate(test):
        for text in dict.fromkeys(texts):
            test = example(text)(test)
        return test

    return decorate


@pytest.fixture(scope="module")
def folder_template(template, tmp_path_factory) -> Path:
    """The template as a folder without git, which Copier reads in half the time."""
    copy = tmp_path_factory.mktemp("template") / "copy"
    shutil.copytree(template, copy, ignore=shutil.ignore_patterns(".git"))
    return copy


@pytest.mark.parametrize("questions", QUESTIONS, ids=" ".join)
def test_an_answer_comes_back_unchanged_or_is_refused(questions, folder_template, request):
    # Each text costs a project, so each question tries a part of the texts, and all of them at length.
    everything = request.config.getoption("--all-answers")
    texts = HOSTILE if everything else HOSTILE[QUESTIONS.index(questions) :: len(QUESTIONS)]

    @settings(
        max_examples=30 if everything else 5,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(answers)
    @examples(texts)
    def answer_is_safe(answer):
        with tempfile.TemporaryDirectory() as box, chdir(box):
            os.mkdir("work")
            with chdir("work"):
                data = dict.fromkeys(questions, answer)
                stored = render_or_refuse(folder_template, Path(box, "project"), data)
            assert os.listdir("work") == []
            if stored is None:
                assert os.listdir() == ["work"]
            else:
                assert data.items() <= stored.items()
                check_project(Path("project"), stored)
                assert sorted(os.listdir()) == ["project", "work"]

    answer_is_safe()


def render_or_refuse(template: Path, project: Path, data: dict) -> dict | None:
    """Return the answers that the project holds, or None if a sentence refused one of these."""
    try:
        # Apart from being quiet, this is what the command line does.
        copier.run_copy(str(template), project, data=data, defaults=True, quiet=True, unsafe=False)
    except ValueError as error:
        reason = str(error)
        assert any(reason.startswith(f"Validation error for question '{q}': ") for q in data)
        assert re.search(r"(, like|; try) \S[^;,]*$", reason), reason
        return None
    return yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))


def check_project(project: Path, answers: dict) -> None:
    check(project)
    title, description, author = (answers[question] for question in TEXTS)

    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["name"] == answers["project_slug"]
    assert metadata["description"] == description
    assert metadata["authors"][0]["name"] == author
    assert metadata["authors"][0].get("email", "") == answers["author_email"]

    readme = (project / "README.md").read_text(encoding="utf-8")
    lines = unescaped(readme).split("\n")
    assert lines[0] == f"# {title}"
    assert lines[2] == description

    notebook = json.loads((project / "notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    assert unescaped(notebook["cells"][0]["source"][0]) == f"# {title}\n"

    licence = (project / "LICENSE").read_text(encoding="utf-8").split("\n")
    assert any(line.startswith("Copyright (c) 20") and line.endswith(author) for line in licence)

    package = answers["package_name"]
    code = f"import sys; sys.path.append('src'); import {package}; print({package}.__file__)"
    command = [sys.executable, "-I", "-B", "-c", code]
    imported = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    assert Path(imported.stdout.strip()) == project.absolute() / "src" / package / "__init__.py"


def unescaped(markdown: str) -> str:
    """Return text of Markdown without the backslashes that keep it from being markup."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


def test_deep_learning_on_alpine_is_refused_with_what_to_choose(folder_template, tmp_path):
    data = {"base_image": "alpine", "stack": "deep-learning"}
    with pytest.raises(ValueError, match=r"'base_image': No torch for musl; try debian$"):
        copier.run_copy(str(folder_template), tmp_path / "p", data=data, defaults=True, quiet=True)


@pytest.mark.xdist_group("projects")
@pytest.mark.parametrize("author", ['Ada, Countess & "Co" <\\> é🐦', "a@b: c; d", "x" * 120])
def test_a_hostile_author_and_description_become_metadata(author, render, projects, tmp_path):
    project = render(author_name=author, description=author, author_email="ada@example.org")
    python = projects("minimal") / ".venv/bin/python"
    code = f"""if True:
        import email.policy, pathlib
        from flit_core.buildapi import prepare_metadata_for_build_wheel as prepare
        from packaging.metadata import Metadata
        folder = pathlib.Path({str(tmp_path)!r}, prepare({str(tmp_path)!r}))
        metadata = Metadata.from_email(folder.joinpath("METADATA").read_bytes())
        message = email.message_from_bytes(
            folder.joinpath("METADATA").read_bytes(), policy=email.policy.default
        )
        print(ascii(metadata.summary))
        print(ascii(message["Author-email"]))
    """
    printed = subprocess.run([python, "-c", code], cwd=project, check=True, capture_output=True)
    summary, authors = printed.stdout.decode().splitlines()
    assert summary == ascii(author)
    assert "ada@example.org" in authors


def test_stored_answers_survive_an_update_unchanged(template, tmp_path):
    release = tmp_path / "template"
    shutil.copytree(template, release)
    makefile = release / "template/Makefile.jinja"
    makefile.write_text(makefile.read_text(encoding="utf-8") + "# New.\n", encoding="utf-8")
    commit_all(release, "Improve")
    git(release, "tag", "v2.0.0")

    for number, texts in enumerate(ACCEPTED):
        project = tmp_path / str(number)
        data = dict(zip(TEXTS, texts, strict=True))
        options = {"defaults": True, "quiet": True}
        copier.run_copy(str(release), project, data=data, vcs_ref="v1.0.0", **options)
        commit_all(project)
        before = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
        copier.run_update(project, overwrite=True, **options)
        after = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
        assert after == before | data | {"_commit": "v2.0.0"}
        assert (project / "Makefile").read_text(encoding="utf-8").endswith("# New.\n")
        changed = git(project, "status", "--porcelain").split()[1::2]
        assert changed == [".copier-answers.yml", "Makefile"]
