"""The names that a project may not take, compared with real interpreters, packages and folders."""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import copier
import jinja2
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.render.test_answers import answers as hostile_texts
from tests.support import BIN, ROOT, choices, git, run

PACKAGE_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LIST_NAMES = """
import json, keyword, pkgutil, sys
modules = {m.name for m in pkgutil.iter_modules()} | sys.stdlib_module_names
# Some file systems take upper and lower case for the same.
print(json.dumps([*keyword.kwlist, *[name.lower() for name in modules]]))
"""
LIST_PACKAGES = """
import importlib.metadata, json
names = importlib.metadata.packages_distributions().keys() - {"my_ai_project"}
print(json.dumps([name.lower() for name in names]))
"""


def pythons() -> list[str]:
    """The interpreters of this machine that projects may use, one of each version."""
    version = "import sys; print('%s.%s' % sys.version_info[:2])"
    found = {"{}.{}".format(*sys.version_info): sys.executable}
    neighbours = Path(sys.base_prefix).resolve().parent
    for wanted in choices("python_version"):
        candidates = [shutil.which(f"python{wanted}"), *neighbours.glob(f"*/bin/python{wanted}")]
        for candidate in filter(None, candidates):
            try:
                found.setdefault(run(candidate, "-c", version).stdout.strip(), str(candidate))
            except AssertionError:
                pass  # The launcher of a version that is not there.
    return [python for _, python in sorted(found.items())]


@pytest.fixture(scope="module")
def names():
    """What includes/names.jinja defines."""
    loader = jinja2.FileSystemLoader(ROOT)
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    environment = jinja2.Environment(loader=loader, extensions=extensions)
    return environment.get_template("includes/names.jinja").module


@pytest.fixture(scope="module")
def questionnaire(tmp_path_factory) -> Path:
    """The template's questions, and nothing to render but the answers."""
    folder = tmp_path_factory.mktemp("questions") / "template"
    for part in ("includes", "locks"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "copier.yml", folder)
    (folder / "template").mkdir()
    answers_file = "template/{{ _copier_conf.answers_file }}.jinja"
    shutil.copy(ROOT / answers_file, folder / answers_file)
    return folder


@pytest.mark.parametrize("python", pythons())
def test_a_package_may_not_hide_a_module_or_be_a_keyword(python, names):
    missing = missing_names(run(python, "-I", "-S", "-c", LIST_NAMES).stdout, names)
    assert not missing, f"add to python_names in includes/names.jinja: {' '.join(missing)}"


@pytest.mark.xdist_group("projects")
@pytest.mark.parametrize("stack", choices("stack"))
def test_a_package_may_not_hide_an_installed_one(stack, names, projects):
    python = projects(stack) / ".venv/bin/python"
    missing = missing_names(run(python, "-I", "-c", LIST_PACKAGES).stdout, names)
    assert not missing, f"add to import_names in includes/names.jinja: {' '.join(missing)}"


@pytest.mark.parametrize("platform", ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"])
def test_a_package_may_not_hide_one_of_other_systems(platform, names, tmp_path):
    locks = "".join(path.read_text() for path in ROOT.glob("locks/*/*.txt")).replace("\\\n", "")
    entries = re.findall(
        r"^\S+==\S+ ;.*(?:sys_platform|os_name|platform_system).*$", locks, re.MULTILINE
    )
    entries = {re.sub(r" +--hash=\S+| *#.*", "", entry) for entry in entries}
    (tmp_path / "requirements.txt").write_text("\n".join(sorted(entries)))
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12"]
    options += [f"--python-platform={platform}", f"--target={tmp_path / 'target'}"]
    # torch has no wheels for an older macOS.
    env = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    run(BIN / "uv", "pip", "install", *options, "-r", tmp_path / "requirements.txt", env=env)
    code = f"import sys; sys.path[:] = [{str(tmp_path / 'target')!r}, *sys.path]\n{LIST_PACKAGES}"
    missing = missing_names(run(sys.executable, "-I", "-S", "-c", code).stdout, names)
    assert not missing, f"add to import_names in includes/names.jinja: {' '.join(missing)}"


def test_a_package_may_not_have_a_name_that_git_ignores(names, render):
    project = render()
    git(project, "init", "--quiet")
    words = set(re.findall(r"\w+", (project / ".gitignore").read_text(encoding="utf-8")))
    paths = "\n".join(f"src/{word}/__init__.py" for word in words if PACKAGE_NAME.fullmatch(word))
    ignored = run("git", "check-ignore", "--stdin", cwd=project, input=paths).stdout.split()
    missing = {path.split("/")[1] for path in ignored} - set(names.reserved_names)
    assert not missing, f"add to path_names in includes/names.jinja: {' '.join(sorted(missing))}"


@pytest.mark.parametrize("name", ["birds", "bird_songs", "x", "py3", "a_1", "n" * 63])
def test_an_ordinary_name_is_free(name, questionnaire):
    slug = name.replace("_", "-")
    assert is_accepted(questionnaire, package_name=name, project_slug=slug)


def test_every_project_name_leads_to_names_that_are_accepted(questionnaire):
    taken = st.sampled_from(
        ["Test", "NumPy!", "scikit learn", "Class", "python", "Jupyter", "build", "3 D", "con"]
    )

    @settings(
        max_examples=80,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(taken | hostile_texts)
    def names_are_valid(project_name):
        try:
            answers = ask(questionnaire, project_name=project_name)
        except ValueError as error:
            assert "question 'project_name'" in str(error)
            return
        assert SLUG.fullmatch(answers["project_slug"])
        assert PACKAGE_NAME.fullmatch(answers["package_name"])

    names_are_valid()


def missing_names(printed: str, names) -> list[str]:
    """The names that a package may take and should not."""
    free = set(json.loads(printed)) - set(names.reserved_names)
    return sorted(name for name in free if PACKAGE_NAME.fullmatch(name))


def ask(template: Path, **answers) -> dict:
    """The answers that a project gets; ValueError where one is refused."""
    with tempfile.TemporaryDirectory() as folder:
        copier.run_copy(str(template), folder, data=answers, defaults=True, quiet=True)
        return yaml.safe_load(Path(folder, ".copier-answers.yml").read_text(encoding="utf-8"))


def is_accepted(template: Path, **answers) -> bool:
    try:
        ask(template, **answers)
    except ValueError:
        return False
    return True
