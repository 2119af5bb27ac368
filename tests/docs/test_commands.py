"""Every command in the documentation is typed into a terminal, page by page, as it stands there.

A block of `console` or `sh` holds commands. A block of `text` behind it shows lines that they print.
Comments in a page, which readers do not see, tell this test what to do besides:

    <!-- fails -->            the next block ends with an exit code other than 0
    <!-- not run: WHY -->     the next block cannot run here
    <!-- by hand: COMMAND --> stands for what the text asks to do with mouse and keyboard

Pages that build or run an image need a container engine.
"""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.docs.terminal import PROMPT, Terminal
from tests.support import QUESTIONS, ROOT, commit_all, run

ADDRESS = "https://github.com/pinbook/pinbook"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
STEP = re.compile(
    r"^<!-- (?P<comment>fails|not run|by hand)(?:: (?P<detail>.+?))? -->$"
    r"|^```(?P<kind>console|sh|text)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NEEDS_ENGINE = re.compile(r"^(docker|make (image|run|wheels|sizes|reproduce))\b", re.MULTILINE)
SERVES_JUPYTER = ("make lab", "docker compose up notebook")
JUPYTER = re.compile(r"http://127\.0\.0\.1:(?P<port>\d+)(?P<path>/lab\?token=\w+)")
HELP = "|".join(re.escape(question["help"]) for question in QUESTIONS.values())
QUESTION_OR_PROMPT = re.compile(f"🎤 (?P<help>{HELP})|{PROMPT.pattern}")
# The README of a project speaks of a notebook that has been run, and that the hook has just cleaned.
RUN_AND_COMMIT = """\
<!-- by hand: sed -i.bak s/days=730/days=1460/ notebooks/quickstart.ipynb -->
<!-- by hand: rm notebooks/quickstart.ipynb.bak -->
<!-- by hand: .venv/bin/jupyter execute --inplace notebooks/quickstart.ipynb -->
<!-- by hand: ! git commit --all --message "Run it" -->
"""


def needs_engine(page: Path) -> bool:
    """Whether a page has commands for a container engine."""
    blocks = [step["text"] or "" for step in STEP.finditer(page.read_text(encoding="utf-8"))]
    return any(map(NEEDS_ENGINE.search, blocks))


@pytest.fixture
def environment(tmp_path, template) -> dict[str, str]:
    """That of a person with git, make, uv and Copier, whom the public address leads to this template."""
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    for name in ("copier", "uv", "uvx"):
        (programs / name).symlink_to(ROOT / ".venv/bin" / name)
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter/jupyter_server_config.json").write_text(
        '{"ServerApp": {"allow_root": true, "open_browser": false}}'
    )
    return os.environ | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(home / ".local/bin"), str(programs), os.environ["PATH"]]),
        "PAGER": "cat",
        "COPIER_CACHE_DIR": str(home / "copier"),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "GIT_EDITOR": "sed -i.bak '1s/^/A message/'",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{template}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
        "GIT_CONFIG_KEY_1": f"url.{template}.insteadOf",
        "GIT_CONFIG_VALUE_1": f"{ADDRESS}.git",
    }


@pytest.fixture
def project(render, environment) -> Path:
    """A project that is set up and committed; of the small stack, which installs faster."""
    return set_up(render(stack="minimal"), environment)


@pytest.fixture
def project_with_engine(engine, local_base, mountable, render, environment) -> Path:
    """A project in a folder that the engine can mount; its image needs no registry."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        environment["PORT"] = str(free.getsockname()[1])
    if base := local_base():
        environment["IMAGE_FLAGS"] = f"--build-arg PYTHON_IMAGE={base}"
    project = mountable / "project"
    shutil.copytree(render(stack="minimal"), project)
    yield set_up(project, environment)
    subprocess.run([engine, "compose", "down"], cwd=project, check=False, capture_output=True)
    shutil.rmtree(project)


def set_up(project: Path, environment: dict[str, str]) -> Path:
    commit_all(project)
    run("make", "setup", cwd=project, env=environment)
    return project


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.xdist_group("image")] if needs_engine(page) else [])
        for page in PAGES
        if STEP.search(page.read_text(encoding="utf-8"))
    ],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_commands_of_a_page_do_what_it_says(page, environment, tmp_path, request):
    text = page.read_text(encoding="utf-8")
    if needs_engine(page):
        folder = request.getfixturevalue("project_with_engine")
    elif "\ncopier copy " in text:
        folder = tmp_path
    else:
        folder = request.getfixturevalue("project")
    follow(text, folder, environment)


@pytest.mark.parametrize("manager", ["requirements", "uv"])
def test_the_commands_in_the_readme_of_a_project_do_what_it_says(manager, render, environment):
    answers = {"stack": "minimal", "dependency_manager": manager}
    project = set_up(render(**answers), environment)
    text = (project / "README.md").read_text(encoding="utf-8")
    text = text.replace("```console\ngit", f"{RUN_AND_COMMIT}```console\ngit")
    follow(text, project, environment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_is_one_that_is_run_or_compared(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * sum(bool(step["kind"]) for step in STEP.finditer(text))


def test_few_blocks_are_not_run_and_each_says_why():
    not_run = [
        (page.relative_to(ROOT).as_posix(), step["detail"])
        for page in PAGES
        for step in STEP.finditer(page.read_text(encoding="utf-8"))
        if step["comment"] == "not run"
    ]
    assert not_run == [("README.md", "these are the tests")]


def follow(text: str, folder: Path, environment: dict[str, str]) -> None:
    """Do in one terminal all that a page asks for, and compare what it shows."""
    printed, comment = "", None
    with Terminal(folder, environment) as terminal:
        for step in STEP.finditer(text):
            if step["comment"] == "by hand":
                type_all(terminal, [step["detail"]])
            elif step["comment"]:
                comment = step["comment"]
            elif step["kind"] == "text":
                for line in step["text"].splitlines():
                    assert line.strip() in printed, f"{line!r} is not in:\n{printed}"
            else:
                if comment != "not run":
                    commands = step["text"].replace("\\\n", " ").splitlines()
                    printed = type_all(terminal, commands, fails=comment == "fails")
                comment = None


def type_all(terminal: Terminal, commands: list[str], fails: bool = False) -> str:
    """Type commands, which succeed but for the last one if it fails; return what they print."""
    everything = ""
    for command in commands:
        if command in SERVES_JUPYTER:
            visit_jupyter(terminal, command)
            continue
        if command.startswith("copier copy ") and "--defaults" not in command:
            answer_questions(terminal, command)
            continue
        code, printed = terminal.run(command)
        everything += printed
        expected = fails and command == commands[-1]
        assert (code != 0) == expected, f"$ {command}\n{printed}\nexit code {code}"
    return everything


def answer_questions(terminal: Terminal, command: str) -> None:
    """Press Enter at each question that the command asks."""
    terminal.type(command + "\n")
    asked = set()
    while (seen := terminal.read_until(QUESTION_OR_PROMPT, seconds=60))["help"]:
        if seen["help"] not in asked:  # It is drawn again when it is answered.
            asked.add(seen["help"])
            terminal.type("\r")
    assert asked
    assert seen["code"] == "0", seen.string


def visit_jupyter(terminal: Terminal, command: str) -> None:
    """Start JupyterLab, get its page, and stop it with Ctrl+C: twice, where it asks."""
    terminal.type(command + "\n")
    printed = terminal.read_until(JUPYTER, seconds=120)
    # A server in a container does not know under which port it is reached.
    port = terminal.environment["PORT"] if "compose" in command else printed["port"]
    address = f"http://127.0.0.1:{port}{printed['path']}"
    # The address is printed a little before it answers.
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address) as answer:
                assert b"JupyterLab" in answer.read()
            break
        except OSError:
            time.sleep(0.2)
    else:
        pytest.fail(f"{address} does not answer")
    terminal.type("\x03")
    question_or_prompt = re.compile(f"(?P<asks>Shut down this Jupyter server)|{PROMPT.pattern}")
    if terminal.read_until(question_or_prompt)["asks"]:
        terminal.type("\x03")
        terminal.read_until(PROMPT)
