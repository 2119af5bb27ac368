"""The reference pages say what copier.yml, the Makefile and the files of a project say."""

import re
from pathlib import Path

import pathspec
import pytest
import yaml

from tests.support import QUESTIONS, ROOT, choices, run

REFERENCE = ROOT / "docs/reference"
ANSWERS = {
    "project_name": "Bird songs",
    "project_slug": "bird-songs",
    "package_name": "bird_songs",
    "description": "Tell birds apart by their songs",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.org",
}
OTHERS = {
    "project_name": "Owls",
    "project_slug": "owls",
    "package_name": "owls",
    "description": "Tell owls apart",
    "author_name": "Grace Hopper",
    "author_email": "grace@example.org",
}
# Between them, they have all files that there are.
DEEP = {"stack": "deep-learning"}
CUDA = DEEP | {"accelerator": "cuda"}
DASK = {"cluster": "dask"}
KINDS = (
    {},
    {"ci": "gitlab"},
    {"dependency_manager": "uv"},
    DASK,
    DASK | {"dependency_manager": "uv"},
    {"base_image": "alpine"},
    DEEP,
    CUDA,
    DEEP | {"dependency_manager": "uv"},
)


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level, which is a name in backticks."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    parts = re.split(r"^## `(.+)`\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def item(section: str, label: str) -> set[str]:
    """The names in backticks in a line like ``* Choices: `a`, `b` ``."""
    (line,) = re.findall(rf"^\* {label}: (.+(?:\n  .+)*)", section, re.MULTILINE)
    return set(re.findall(r"`([^`]*)`", line))


def files_of(project: Path) -> dict[str, bytes]:
    """The content of each file, by its path with the package's name as <package>."""
    return {
        re.sub("^src/[^/]+/", "src/<package>/", path.relative_to(project).as_posix()): (
            path.read_bytes()
        )
        for path in project.rglob("*")
        if path.is_file()
    }


def test_each_question_has_its_section_in_the_order_of_asking():
    assert list(sections("questions.md")) == list(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_questions_section_names_its_default_and_choices(name):
    section = sections("questions.md")[name]
    default = QUESTIONS[name]["default"]
    if default and "{" not in str(default):
        assert item(section, "Default") == {str(default).lower() if default is True else default}
    if "choices" in QUESTIONS[name]:
        assert item(section, "Choices") == set(choices(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_questions_section_names_the_files_it_changes(name, render):
    others = [OTHERS.get(name, not QUESTIONS[name]["default"])]
    if "choices" in QUESTIONS[name]:
        others = [choice for choice in choices(name) if choice != QUESTIONS[name]["default"]]
    changed = set()
    for kind in KINDS:
        if name in kind:
            continue
        asked = ANSWERS | kind
        base = files_of(render(**asked))
        for other in others:
            files = files_of(render(**asked | {name: other}))
            changed |= {
                path for path in base.keys() | files.keys() if base.get(path) != files.get(path)
            }
    changed.discard(".copier-answers.yml")
    assert item(sections("questions.md")[name], "Changes") == changed


def test_each_command_has_its_section_with_the_words_of_make(render):
    printed = [run("make", cwd=render(**kind)).stdout for kind in (CUDA, DASK)]
    commands = dict(re.findall(r"^  (make [\w-]+) +(.+)$", "".join(printed), re.MULTILINE))
    documented = {
        name: re.match(r"\n(.+)\.\n", text)[1] for name, text in sections("make.md").items()
    }
    assert documented == commands


def test_each_environment_variable_of_the_programs_has_a_row():
    documented = set(
        re.findall("`([A-Z_]+)`(?=[^\n]* \\|)", (REFERENCE / "environment.md").read_text("utf-8"))
    )
    # The Makefile and docker/cluster give these to the programs that they start, and the Dockerfile
    # has the others.
    given = {"STRICT", "NOTEBOOK", "PARAMS", "JOBS", "NETWORK", "PROJECT", "CLUSTER_USER"}
    of_builds = {"PYTHON_IMAGE", "APT_SNAPSHOT", "SOURCE_DATE_EPOCH"}
    of_systems = {"PATH", "HOME", "APPDATA", "LANGUAGE"}
    forge = r"\bCI_\w+"
    read = set()
    for path in (ROOT / "template").rglob("*"):
        if path.is_file() and path.suffix != ".ipynb":
            text = re.sub(forge, "", path.read_text(encoding="utf-8"))
            read |= set(re.findall(r"\$\{([A-Z_]{2,})[:}-]", text))
            read |= set(re.findall(r"""environ(?:\.get\(|\[)"([A-Z_]+)"[\],)]""", text))
    assert read - given - of_builds - of_systems == documented & read
    assert len(read) > 25


def test_the_list_of_files_is_complete_and_names_the_owners(render):
    rows = re.findall(
        r"^\| `([^`]+)` \| (you|the template) \| \S",
        (REFERENCE / "files.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    rendered = set()
    for other in KINDS:
        rendered |= files_of(render(**ANSWERS, **other)).keys()
    assert sorted(path for path, _ in rows) == sorted(rendered)

    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    yours = pathspec.GitIgnoreSpec.from_lines(settings["_skip_if_exists"])
    for path, owner in rows:
        assert owner == ("you" if yours.match_file(path) else "the template"), path
