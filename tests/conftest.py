"""What all tests share: a clean environment, a released copy of the template, and projects made of it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from plumbum import local

from tests.support import QUESTIONS, ROOT, TORCH_IS_HERE, commit_all, fill_wheels, git, run

NEEDS_TRUST = {"_tasks", "_migrations", "_jinja_extensions"}


def pytest_addoption(parser):
    parser.addoption(
        "--all-answers",
        action="store_true",
        help="every combination of answers, not only all pairs, and the tests that are slow",
    )
    parser.addoption(
        "--cuda", action="store_true", help="the image for CUDA, which needs 30 GB of disk"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what is slow unless it is asked for, and give one worker what is built once for many tests.

    Several workers would also build the same images at once, and BuildKit mixes up such builds.
    """
    asked_for = {
        "slow": ("--all-answers", "what is slow, which `make test-all` tests"),
        "cuda": ("--cuda", "the image for CUDA, which `make test-cuda` tests"),
    }
    for item in items:
        for marker, (option, what) in asked_for.items():
            if item.get_closest_marker(marker) and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=f"NOT TESTED: {what}"))
        if "engine" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("image"))
        elif item.path.parent.name == "network":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_terminal_summary(terminalreporter):
    """Say what was not tested, which one letter among many would not."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in sorted({report.longrepr[2].removeprefix("Skipped: ") for report in skipped}):
        terminalreporter.write_line(reason, yellow=True, bold=True)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory):
    """An empty HOME and no git settings; caches stay where they are, so nothing is fetched twice."""
    home = tmp_path_factory.mktemp("home")
    (home / "settings.yml").write_text("{}\n")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    settings = {
        "HOME": str(home),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(cache / "uv")),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(cache / "pip")),
        "PRE_COMMIT_HOME": os.environ.get("PRE_COMMIT_HOME", str(cache / "pre-commit")),
        "PREK_HOME": os.environ.get("PREK_HOME", str(cache / "prek")),
        "COPIER_SETTINGS_PATH": str(home / "settings.yml"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
    # A VIRTUAL_ENV, a git hook's GIT_DIR or the flags of `make test` would reach the commands under
    # test. Copier runs git through plumbum, which has its own copy of the environment.
    leaking = [name for name in os.environ if name.startswith(("GIT_", "MAKE", "MFLAGS"))]
    for name in [*leaking, "VIRTUAL_ENV", "PYTEST_ADDOPTS"]:
        os.environ.pop(name, None)
        local.env.pop(name, None)
    os.environ.update(settings)
    local.env.update(settings)


@pytest.fixture(scope="session")
def template(clean_environment, tmp_path_factory) -> Path:
    """The working tree as a released template: a git repository with the tag v1.0.0."""
    copy = tmp_path_factory.mktemp("template")
    for part in ("includes", "locks", "template"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "copier.yml", copy)
    shutil.copy(ROOT / ".gitattributes", copy)
    commit_all(copy, "Release")
    git(copy, "tag", "v1.0.0")
    return copy


@pytest.fixture(scope="session")
def render(template, copie_session):
    """Make a project of some answers, in this process.

    pytest-copie trusts any template, keeps exceptions to itself and ignores unknown answers; this
    does not.
    """
    unsafe = NEEDS_TRUST & yaml.safe_load((template / "copier.yml").read_text()).keys()
    assert not unsafe, f"copier.yml has {unsafe}, for which users would have to type --trust"

    def render(**answers) -> Path:
        unknown = answers.keys() - QUESTIONS.keys()
        assert not unknown, f"copier.yml has no such questions: {unknown}"
        result = copie_session.copy(extra_answers=answers, template_dir=template)
        if result.exception:
            raise result.exception
        return result.project_dir

    return render


@pytest.fixture(scope="session")
def projects(render):
    """Projects that are set up and committed, one for each answer; tests work on clones of them."""
    made = {}

    def project(stack: str = "data-science") -> Path:
        if stack not in made:
            torch_from_here = stack == "deep-learning" and TORCH_IS_HERE
            python = {"python_version": "3.11"} if torch_from_here else {}
            made[stack] = render(stack=stack, **python)
            commit_all(made[stack])
            if torch_from_here:
                fill_wheels(made[stack])
            run("make", "setup", cwd=made[stack])
        return made[stack]

    return project


@pytest.fixture(scope="session")
def engine() -> str:
    """The command of a container engine that answers; PINBOOK_REQUIRE_ENGINE=1 makes it a must."""
    command = os.environ.get("ENGINE", "docker")
    try:
        subprocess.run([command, "info"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        message = f"NOT TESTED: images, because no container engine answers to `{command} info`"
        required = os.environ.get("PINBOOK_REQUIRE_ENGINE") == "1"
        pytest.fail(message) if required else pytest.skip(message)
    return command


@pytest.fixture(scope="session")
def local_base(engine):
    """Return the base image that takes the place of the pinned one, or nothing where it is not here.

    It is for machines that reach no registry.
    """

    def local_base(python_version: str = "3.13") -> str:
        debian = "bookworm" if python_version == "3.11" else "trixie"
        image = f"localhost/python:{python_version}-slim-{debian}"
        found = subprocess.run(
            [engine, "image", "inspect", image], check=False, capture_output=True
        )
        return "" if found.returncode else image

    return local_base


@pytest.fixture(scope="session")
def mountable(engine) -> Path:
    """A folder for all users that the engine can mount; one in a machine of its own sees few."""
    empty = "FROM scratch\nLABEL title=empty\n"
    run(engine, "build", "--quiet", "--tag", "pinbook-empty", "-", input=empty)
    for parent in ("/tmp", "/run"):
        folder = Path(tempfile.mkdtemp(prefix="pinbook-mount-", dir=parent))
        mount = ["--mount", f"type=bind,source={folder},target=/mnt", "pinbook-empty", "none"]
        created = subprocess.run(
            [engine, "create", *mount], check=False, capture_output=True, text=True
        )
        if created.returncode == 0:
            break
        folder.rmdir()
    else:
        pytest.fail("the engine sees neither /tmp nor /run of this machine")
    run(engine, "rm", created.stdout.strip())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("NOT TESTED: what a person sees in a browser, because there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
