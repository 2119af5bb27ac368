"""Read every file of a project with a real parser of its kind."""

import fnmatch
import functools
import json
import re
import tempfile
import tomllib
import warnings
from pathlib import Path

import nbformat
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from tests.support import BIN, run

# Copier takes "{{" and its like for its own, GitHub's "${{" is none of its business.
# Workflows have ${{ }}, and engines are asked in words like {{.Id}} and {{join .RepoDigests "\\n"}}.
LEFTOVER_JINJA = re.compile(r"(?<!\$)\{\{(?!(join |json )?\.)|\{%|\{#|#\}|%\}")


def files(project: Path) -> set[str]:
    """The paths of all files in a project that is not set up."""
    found = {p.relative_to(project) for p in project.rglob("*") if p.is_symlink() or p.is_file()}
    return {path.as_posix() for path in found if path.parts[0] != ".git"}


def check(project: Path) -> None:
    """Parse all files of a project that is not set up."""
    for name in sorted(files(project)):
        try:
            assert not (project / name).is_symlink(), "a link, which not every system can have"
            text = (project / name).read_bytes().decode("utf-8")
            check_lines(text)
            parse(parser_of(name, text), text)
        except Exception as error:
            raise AssertionError(f"{name} is broken: {error}") from error


def check_lines(text: str) -> None:
    assert text, "it is empty: a file that git cannot show needs a line that says why it is there"
    assert "\r" not in text, "it has a carriage return"
    assert text.endswith("\n") and not text.endswith("\n\n"), "it does not end in one newline"
    blanks = [n for n, line in enumerate(text.split("\n"), 1) if line != line.rstrip()]
    assert not blanks, f"lines {blanks} end in blanks"


def parser_of(name: str, text: str):
    for pattern, parser in PARSERS.items():
        if fnmatch.fnmatchcase(name, pattern):
            return parser
    for program, parser in INTERPRETERS.items():
        if re.match(rf"#!.*\b{program}\b", text):
            return parser
    raise AssertionError("say in PARSERS of tests/render/parsers.py what kind of file it is")


@functools.cache
def parse(parser, text: str) -> None:
    """Most files of one project are in the next one too."""
    parser(text)


def parse_python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(text, "<file>", "exec", dont_inherit=True)


def parse_notebook(text: str) -> None:
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5), "it is not of nbformat 4.5"
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parse_python(re.sub("(?m)^%.*$", "", cell.source))  # without IPython's own commands
            assert not cell.outputs and cell.execution_count is None, "it was executed"


def parse_requirements(text: str) -> None:
    for line in text.replace("\\\n", "").splitlines():
        requirement = re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip()
        if requirement and not requirement.startswith("-c "):
            Requirement(requirement)


def parse_make(text: str) -> None:
    """Let make read it, and a shell read the recipe of every target that is a command."""
    targets = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Makefile").write_text(text, encoding="utf-8")
        for target in " ".join(targets).split():
            recipe = run("make", "--dry-run", target, cwd=folder).stdout
            parse(parse_shell, recipe)


def parse_shell(text: str) -> None:
    run("sh", "-n", input=text)


def parse_with_schema(schema: str, text: str) -> None:
    """Compare it with a schema that check-jsonschema brings along."""
    transform = ["--data-transform=gitlab-ci"] if schema == "gitlab-ci" else []
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        run(BIN / "check-jsonschema", f"--builtin-schema=vendor.{schema}", *transform, file.name)


def parse_pre_commit(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        run(BIN / "pre-commit", "validate-config", file.name)


def parse_yaml(text: str) -> None:
    list(YAML(typ="safe").load_all(text))  # Unlike PyYAML it refuses a key that is there twice.


def plain_text(text: str) -> None:
    """Nothing but its lines can be checked; tests/image gives the Dockerfile to the engines."""


# The first pattern that fits a path decides.
PARSERS = {
    "AGENTS.md": plain_text,
    ".github/workflows/*.yml": functools.partial(parse_with_schema, "github-workflows"),
    ".gitlab-ci.yml": functools.partial(parse_with_schema, "gitlab-ci"),
    "compose*.yaml": functools.partial(parse_with_schema, "compose-spec"),
    ".pre-commit-config.yaml": parse_pre_commit,
    "*.yml": parse_yaml,
    "*.yaml": parse_yaml,
    "renovate.json": functools.partial(parse_with_schema, "renovate"),
    "*.json": json.loads,
    "*.toml": tomllib.loads,
    "uv.lock": tomllib.loads,
    "*.ipynb": parse_notebook,
    "*.py": parse_python,
    "*.sh": parse_shell,
    "Makefile": parse_make,
    "*.mk": parse_make,
    "*requirements.in": parse_requirements,
    "*requirements.txt": parse_requirements,
    "docker/ap[kt]-*.txt": plain_text,
    "Dockerfile": plain_text,
    ".dockerignore": plain_text,
    ".gitattributes": plain_text,
    ".gitignore": plain_text,
    "LICENSE": plain_text,
    "*README.md": plain_text,
}
# For files without a suffix.
INTERPRETERS = {"sh": parse_shell, "python3": parse_python}
