"""What a project looks like, for all pairs of answers; with --all-answers, for all combinations."""

import functools
import itertools
import json
import re
import urllib.request
from pathlib import Path

import jinja2
import pytest
from allpairspy import AllPairs

from tests.render.file_parsers import LEFTOVER_JINJA, check, files
from tests.support import BIN, QUESTIONS, ROOT, choices, commit_all, git, run

DEVCONTAINER_SCHEMA = (
    "https://raw.githubusercontent.com/devcontainers/spec/"
    "c95ffeed1d059abfe9ffbe79762dc2fa4e7c2421/schemas/devContainer.base.schema.json"
)
# Every file of a project, and the answers with which it is there, as copier.yml would say it.
FILES = {
    ".copier-answers.yml": "true",
    ".devcontainer/devcontainer.json": "devcontainer",
    ".dockerignore": "true",
    ".gitattributes": "true",
    ".github/workflows/ci.yml": "ci == 'github'",
    ".github/workflows/weekly.yml": "ci == 'github'",
    ".gitignore": "true",
    ".gitlab-ci.yml": "ci == 'gitlab'",
    ".pre-commit-config.yaml": "true",
    "AGENTS.md": "true",
    "Dockerfile": "true",
    "LICENSE": "true",
    "Makefile": "true",
    "README.md": "true",
    "compose.cluster.yaml": "cluster == 'dask'",
    "compose.gpu-podman.yaml": "accelerator == 'cuda'",
    "compose.gpu.yaml": "accelerator == 'cuda'",
    "compose.yaml": "true",
    "deploy/cluster.yaml": "cluster == 'dask'",
    "deploy/kustomization.yaml": "cluster == 'dask'",
    "dev-requirements.in": "dependency_manager == 'requirements'",
    "dev-requirements.txt": "dependency_manager == 'requirements'",
    "docker/apk-install": "base_image == 'alpine'",
    "docker/build-requirements.txt": "base_image == 'alpine' and stack == 'data-science'",
    "docker/apt-install": "base_image == 'debian'",
    "docker/build": "true",
    "docker/build-wheels": "base_image == 'alpine'",
    "docker/cluster": "cluster == 'dask'",
    "docker/find-libdeps": "true",
    "docker/install-wheels": "true",
    "docker/notebook": "true",
    "docker/wait-for-port": "true",
    "notebooks/many-machines.ipynb": "cluster == 'dask'",
    "notebooks/quickstart.ipynb": "true",
    "pyproject.toml": "true",
    "renovate.json": "ci != 'none'",
    "requirements.in": "dependency_manager == 'requirements'",
    "requirements.txt": "dependency_manager == 'requirements'",
    "src/my_ai_project/__init__.py": "true",
    "src/my_ai_project/__main__.py": "true",
    "src/my_ai_project/cluster.py": "cluster == 'dask'",
    "src/my_ai_project/digits.py": "stack == 'deep-learning'",
    "src/my_ai_project/seasons.py": "stack != 'deep-learning'",
    "tests/test_cluster.py": "cluster == 'dask'",
    "tests/test_digits.py": "stack == 'deep-learning'",
    "tests/test_seasons.py": "stack != 'deep-learning'",
    "tools/README.md": "true",
    "tools/doctor.py": "true",
    "tools/findsecrets.py": "true",
    "tools/job.py": "true",
    "tools/jupyter_server_config.py": "true",
    "tools/pintorch.py": "stack == 'deep-learning'",
    "tools/gpu.py": "accelerator == 'cuda'",
    "tools/lock.py": "true",
    "tools/lockcheck.py": "true",
    "tools/machine.py": "true",
    "tools/nbclean.py": "true",
    "tools/packages.py": "true",
    "tools/project.py": "true",
    "tools/sbom.py": "true",
    "tools/update.py": "true",
    "tools/verify.py": "true",
    "uv.lock": "dependency_manager == 'uv'",
}
MOST_FILES = 45

LICENSE_STARTS = {
    "MIT": "MIT License\n",
    "Apache-2.0": "Apache License\n",
    "BSD-3-Clause": "BSD 3-Clause License\n",
    "Proprietary": "Copyright (c) ",
}

# Accepted everywhere, and awkward for a shell, TOML, YAML, JSON, Markdown and make.
AWKWARD = """It's "5 < 6 & 7" \\n %s $(touch x) `touch x` ${HOME} $$ } # é 🐦 100 % !"""
LONG_NAME = "n" * 63


def holds(condition, answers: dict) -> bool:
    """Whether a condition in the language of copier.yml is true for these answers."""
    return bool(compiled(str(condition))(**answers))


@functools.cache
def compiled(condition: str):
    expression = condition.strip().removeprefix("{{").removesuffix("}}")
    return jinja2.Environment().compile_expression(expression)


def asked(answers: dict) -> bool:
    """Whether each answer that is no default is to a question that Copier would ask."""
    return all(
        answers[name] == question["default"] or holds(question["when"], answers)
        for name, question in QUESTIONS.items()
        if "when" in question and name in answers
    )


def combinations(everything: bool) -> list[dict]:
    values = {
        name: [True, False] if isinstance(question["default"], bool) else choices(name)
        for name, question in QUESTIONS.items()
        if isinstance(question["default"], bool) or "choices" in question
    }
    names = list(values)

    def possible(row) -> bool:
        # A row is not complete while AllPairs builds it: what is missing has its default.
        defaults = {name: QUESTIONS[name]["default"] for name in names}
        return asked(defaults | dict(zip(names, row, strict=False)))

    def pairs_of(row) -> set:
        return set(itertools.combinations(enumerate(row), 2))

    rows = all_rows = [row for row in itertools.product(*values.values()) if possible(row)]
    if not everything:
        rows = list(AllPairs(list(values.values()), filter_func=possible))
        covered = set().union(*map(pairs_of, rows))
        # AllPairs loses a pair where a question is not always asked.
        for row in all_rows:
            if not pairs_of(row) <= covered:
                rows.append(row)
                covered |= pairs_of(row)
    return [dict(zip(names, row, strict=True)) for row in rows]


def pytest_generate_tests(metafunc):
    if "project" in metafunc.fixturenames:
        rows = combinations(metafunc.config.getoption("--all-answers"))
        labels = ["-".join(str(answer) for answer in row.values()) for row in rows]
        # One worker makes a project and runs all of its tests.
        marked = [
            pytest.param(row, marks=pytest.mark.xdist_group(label))
            for row, label in zip(rows, labels, strict=True)
        ]
        metafunc.parametrize("answers", marked, ids=labels, scope="module")


@pytest.fixture(scope="module")
def project(render, answers) -> Path:
    return render(**answers)


def test_all_answers_that_go_together_are_tried_together():
    seen = [set(itertools.combinations(row.items(), 2)) for row in combinations(everything=False)]
    wanted = [set(itertools.combinations(row.items(), 2)) for row in combinations(everything=True)]
    assert set().union(*seen) == set().union(*wanted)


def test_a_project_has_the_files_that_its_answers_call_for(project, answers):
    expected = {path for path, condition in FILES.items() if holds(condition, answers)}
    found = files(project)
    assert not found - expected, (
        f"{sorted(found - expected)}: not expected with {answers}. Either keep them from being"
        " rendered, or add them to FILES in this file, with the answers that call for them."
    )
    assert not expected - found, (
        f"{sorted(expected - found)}: missing with {answers}. Either render them, or take them"
        " out of FILES in this file, or correct the answers there that call for them."
    )


def test_a_default_project_is_small(render):
    number = len(files(render()))
    assert number <= MOST_FILES, f"{number} files are too many: which can go?"


def test_agents_read_at_most_forty_lines(project):
    assert len((project / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= 40


def test_every_file_of_a_project_parses(project):
    check(project)


def test_nothing_of_the_template_language_is_left(project):
    paths = {str(p.relative_to(ROOT / "template")) for p in (ROOT / "template").rglob("*")}
    verbatim = {re.sub(r"{%.+?%}", "", path) for path in paths}
    for name in files(project) - verbatim:
        text = (project / name).read_text(encoding="utf-8")
        assert not LEFTOVER_JINJA.search(text), f"{name} holds {LEFTOVER_JINJA.search(text)[0]}"


def test_ruff_has_nothing_to_say_about_a_new_project(project):
    run(BIN / "ruff", "check", "--no-cache", cwd=project)
    run(BIN / "ruff", "format", "--no-cache", "--diff", cwd=project)


def test_a_project_starts_with_the_locks_of_its_stack(project, answers):
    uv = answers["dependency_manager"] == "uv"
    folder = answers["stack"] + "-cuda" * (answers["accelerator"] == "cuda")
    folder += "-dask" * (answers["cluster"] == "dask")
    locks = sorted((ROOT / "locks" / folder).glob("uv/uv.lock" if uv else "*requirements.*"))
    assert locks
    for lock in locks:
        assert (project / lock.name).read_bytes() == lock.read_bytes(), f"{lock.name} differs"


def test_a_project_has_the_licence_that_was_chosen(project, answers):
    text = (project / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip().startswith(LICENSE_STARTS[answers["license"]])
    if answers["license"] != "Apache-2.0":  # Its holder stands in a notice, not in its text.
        assert re.search(
            r"^Copyright \(c\) 20\d\d,? The My AI project developers", text, re.MULTILINE
        )


@pytest.mark.parametrize(
    "answers",
    [
        *[pytest.param({"stack": stack}, id=stack) for stack in choices("stack")],
        pytest.param({"stack": "deep-learning", "accelerator": "cuda"}, id="cuda"),
        pytest.param({"cluster": "dask"}, id="dask"),
        pytest.param({"stack": "deep-learning", "dependency_manager": "uv"}, id="addresses-in-uv"),
        pytest.param(
            {"cluster": "dask", "package_name": LONG_NAME, "project_slug": LONG_NAME},
            id="dask-with-long-names",
        ),
        *[
            pytest.param({"stack": s, "package_name": LONG_NAME, "project_slug": LONG_NAME}, id=i)
            for s, i in [(stack, f"{stack}-with-long-names") for stack in choices("stack")]
        ],
        pytest.param(
            {"project_name": AWKWARD, "description": AWKWARD, "author_name": AWKWARD},
            id="awkward-texts",
        ),
        pytest.param({"project_slug": "0-9", "package_name": "z9"}, id="short-names"),
    ],
)
def test_the_hooks_change_nothing_in_a_new_project(render, answers):
    folder = render(**answers)
    run(BIN / "ruff", "format", "--no-cache", "--diff", cwd=folder)
    (folder / ".venv").symlink_to(BIN.parent)
    (folder / ".git/info").mkdir(parents=True)
    (folder / ".git/info/exclude").write_text(".venv\n")
    commit_all(folder)
    run(BIN / "pre-commit", "run", "--all-files", "--show-diff-on-failure", cwd=folder)
    assert git(folder, "status", "--porcelain") == ""


# What the schema of devcontainer.json (containers.dev) lets these be; it admits no other name.
DEVCONTAINER = {
    "name": str,
    "initializeCommand": str | list | dict,
    "updateContentCommand": str | list | dict,
    "dockerComposeFile": str | list,
    "service": str,
    "runServices": list,
    "workspaceFolder": str,
    "overrideCommand": bool,
    "updateRemoteUserUID": bool,
    "hostRequirements": dict,
    "customizations": dict,
}


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_devcontainer_json_has_what_its_schema_knows(render, accelerator):
    project = render(stack="deep-learning", accelerator=accelerator)
    settings = json.loads((project / ".devcontainer/devcontainer.json").read_text())
    for name, value in settings.items():
        assert isinstance(value, DEVCONTAINER[name]), name
    assert {"dockerComposeFile", "service", "workspaceFolder"} <= settings.keys()
    gpu = {"gpu": "optional"} if accelerator == "cuda" else None
    assert settings.get("hostRequirements") == gpu
    assert "features" not in settings


@pytest.fixture(scope="module")
def devcontainer_schema(tmp_path_factory) -> Path:
    """Return the schema that the specification of development containers publishes."""
    try:
        with urllib.request.urlopen(DEVCONTAINER_SCHEMA, timeout=30) as answer:
            schema = answer.read()
    except OSError:
        pytest.skip("NOT TESTED: .devcontainer by its schema, because GitHub cannot be reached")
    path = tmp_path_factory.mktemp("schema") / "devcontainer.json"
    path.write_bytes(schema)
    return path


@pytest.mark.parametrize(
    "answers",
    [{}, {"dependency_manager": "uv"}, {"stack": "deep-learning", "accelerator": "cuda"}],
    ids=["default", "uv", "cuda"],
)
def test_the_development_container_follows_its_schema(answers, render, devcontainer_schema):
    file = render(**answers) / ".devcontainer/devcontainer.json"
    run(BIN / "check-jsonschema", "--schemafile", devcontainer_schema, file)
