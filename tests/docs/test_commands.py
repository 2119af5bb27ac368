"""Every command in the documentation is typed into a terminal, page by page, as it stands there.

A block of `console` or `sh` holds commands. The block of `text` after it shows what they print: each of
its lines is part of a printed line, in this order, and `…` stands for anything, as a line also for lines.
A comment above a block, which readers do not see, says what is special about it:

    <!-- fails -->            its last command ends with an exit code other than 0
    <!-- not run: WHY -->     it cannot run here
    <!-- by hand: COMMAND --> before it, COMMAND does what the text asks to do with mouse and keyboard

by_hand.yml holds the longer commands of the last kind, which would stand in the way of whoever edits a page.

A block of another kind is the content of a file, which the last word in backticks before it names.

Pages that build or run an image need a container engine; those that make a project go without these sections
where none answers, and those that write their own files begin with an empty folder. All other pages share one project, which is set up once and comes back as it was before
each page. French pages have the commands of the English ones, which one test compares. They are slow, and so
are the how-tos that build an image: `make test-all` follows them.
"""

import re
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.docs.terminal import PROMPT, Terminal
from tests.support import QUESTIONS, ROOT

PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
# Each French page, with the English one that it translates.
FRENCH = {
    page: ROOT / page.relative_to(ROOT).as_posix().replace(".fr.", ".").replace("/fr/", "/")
    for page in PAGES
    if ".fr." in page.name or "fr" in page.relative_to(ROOT).parts
}
PAGES_OF_A_PROJECT = ["README.md", "tools/README.md"]
# By page and heading, the commands that run before the first, second ... block under that heading.
BY_HAND = yaml.safe_load(Path(__file__).with_name("by_hand.yml").read_text(encoding="utf-8"))
STEP = re.compile(
    r"^#+ (?P<heading>[^\n]+)$"
    r"|^<!-- (?P<comment>fails|not run|by hand)(?:: (?P<detail>.+?))? -->$"
    r"|^```(?P<kind>console|sh|text)\n(?P<text>.*?)^```$"
    r"|`(?P<file>[\w./-]+)` ?:\n\n```(?:dockerfile|none|python|toml)\n(?P<content>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NEEDS_ENGINE = re.compile(
    r"^(docker|make (image|up|run|job|wheels|sizes|reproduce))\b", re.MULTILINE
)
SERVES_JUPYTER = "make lab"
JUPYTER = re.compile(r"http://127\.0\.0\.1:\d+/lab\?token=\w+")
HELP = "|".join(re.escape(question["help"]) for question in QUESTIONS.values())
QUESTION_OR_PROMPT = re.compile(f"🎤 (?P<help>{HELP})|{PROMPT.pattern}")


def name_of(page: Path) -> str:
    """Return the path of a page from the top of the repository."""
    return page.relative_to(ROOT).as_posix()


def steps_of(page: Path) -> list[re.Match]:
    """Return the headings, comments and blocks of a page."""
    return list(STEP.finditer(page.read_text(encoding="utf-8")))


def needs_engine(page: Path) -> bool:
    """Return whether a page has commands for a container engine."""
    return any(NEEDS_ENGINE.search(step["text"] or "") for step in steps_of(page))


def marks_of(page: Path) -> list[pytest.MarkDecorator]:
    """Return the worker of a page, and that it is slow if its image is one that other tests build, too."""
    if page in FRENCH:
        return [pytest.mark.slow, pytest.mark.xdist_group("image")]
    if not needs_engine(page):
        return []
    marks = [pytest.mark.xdist_group("image")]
    if name_of(page).startswith(("docs/how-to", "docs/reference")):
        marks.append(pytest.mark.slow)
    return marks


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=marks_of(page))
        for page in PAGES
        if any(step["kind"] for step in steps_of(page))
    ],
    ids=name_of,
)
def test_the_commands_of_a_page_do_what_it_says(page, environment, tmp_path, request):
    text = page.read_text(encoding="utf-8")
    if any(step["file"] for step in steps_of(page)):
        folder = request.getfixturevalue("empty_folder")
    elif "\ncopier copy " in text:
        folder = tmp_path
        if needs_engine(page):
            try:
                folder = request.getfixturevalue("folder_with_engine")
            except pytest.skip.Exception:
                text = without_engine(text)
    elif needs_engine(page):
        folder = request.getfixturevalue("project_with_engine")
    else:
        set_up, shared_folder = map(request.getfixturevalue, ("set_up", "shared_folder"))
        folder = set_up(shared_folder)
    follow(text, folder, environment, BY_HAND.get(name_of(page), {}))


@pytest.mark.parametrize("page", FRENCH, ids=name_of)
def test_a_french_page_has_the_commands_of_the_english_one(page):
    assert commands_of(page) == commands_of(FRENCH[page])


def commands_of(page: Path) -> list[str]:
    """Return what a page lets people type, without answers to questions and without comments."""
    texts = [s["text"] if s["kind"] in ("console", "sh") else s["content"] for s in steps_of(page)]
    return [re.sub(r' --data [a-z_]+=("[^"]*"|\S+)|#.*', "", text) for text in texts if text]


def test_the_commands_of_a_projects_pages_do_what_they_say(set_up, shared_folder, environment):
    project = set_up(shared_folder)
    for page in PAGES_OF_A_PROJECT:
        text = (project / page).read_text(encoding="utf-8")
        follow(text, project, environment, BY_HAND.get(f"template/{page}.jinja", {}))


@pytest.mark.parametrize("manager", ["requirements", "uv"])
@pytest.mark.parametrize("page", [*PAGES_OF_A_PROJECT, "AGENTS.md"])
def test_a_page_in_a_project_names_commands_that_make_has(page, manager, render):
    project = render(stack="minimal", dependency_manager=manager)
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    text = (project / page).read_text(encoding="utf-8")
    named = {word for line in re.findall(r"`make ([a-z ]+)", text) for word in line.split()}
    assert named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_is_one_that_is_run_or_compared(page):
    blocks = sum(bool(step["kind"] or step["file"]) for step in steps_of(page))
    assert page.read_text(encoding="utf-8").count("```") == 2 * blocks


def test_few_blocks_are_not_run_and_each_says_why():
    not_run = {
        (name_of(page), step["detail"])
        for page in PAGES
        for step in steps_of(page)
        if step["comment"] == "not run"
    }
    reasons = [
        "it changes the groups of the machine",
        "it changes the packages of the machine",
        "it downloads an image from Docker Hub",
    ]
    of_cluster = [
        "the shared project has no dask",
        "the shared project is not to change its answers",
        "there is no registry",
        "there is no Kubernetes",
        "there is no SLURM",
    ]
    guides = ["docs/guide/docker.md", "docs/fr/guide/docker.md"]
    assert not_run == {
        *((name, "these are the tests") for name in ("README.md", "README.fr.md")),
        *((guide, reason) for guide in guides for reason in reasons),
        *(("docs/how-to/compute-on-a-cluster.md", reason) for reason in of_cluster),
        ("docs/how-to/publish-the-image.md", "needs GitHub"),
        ("docs/how-to/verify-an-image.md", "needs a registry"),
    }


def test_what_is_done_by_hand_stands_before_a_block_of_a_page():
    for name, by_heading in BY_HAND.items():
        commands, heading = [], ""
        for step in steps_of(ROOT / name):
            heading = step["heading"] or heading
            commands += [heading] if step["kind"] in ("console", "sh") else []
        for heading, by_hand in by_heading.items():
            assert 0 < len(by_hand) <= commands.count(heading), f"{name}: {heading}"


def without_engine(text: str) -> str:
    """Return a page without the sections that need an engine."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "".join(section for section in sections if not NEEDS_ENGINE.search(section))


def follow(text: str, folder: Path, environment: dict[str, str], by_hand: dict) -> None:
    """Do in one terminal all that a page asks for, and compare what it shows."""
    printed: str | None = ""  # nothing known after commands that are not run
    comment, pending = None, iter(())
    with Terminal(folder, environment) as terminal:
        for step in STEP.finditer(text):
            if step["heading"]:
                pending = iter(by_hand.get(step["heading"], ()))
            elif step["comment"] == "by hand":
                type_all(terminal, [step["detail"]])
            elif step["comment"]:
                comment = step["comment"]
            elif step["file"]:
                (terminal.folder / step["file"]).write_text(step["content"], encoding="utf-8")
            elif step["kind"] == "text":
                if printed is not None:
                    compare(step["text"], printed)
            else:
                type_all(terminal, next(pending, "").splitlines())
                if comment == "not run":
                    printed = None
                else:
                    commands = step["text"].replace("\\\n", " ").splitlines()
                    printed = type_all(terminal, commands, fails=comment == "fails")
                comment = None


def compare(shown: str, printed: str) -> None:
    """Find each line that a page shows in what was printed, none before the one above it."""
    rest = fit_any_width(printed).splitlines()
    for line in map(str.strip, fit_any_width(shown).splitlines()):
        pattern = ".*".join(map(re.escape, line.split("…")))
        found = [number for number, one in enumerate(rest) if re.search(pattern, one)]
        assert found, f"{line!r} is not, or not in this place, in:\n{printed}"
        rest = rest[found[0] :] if line != "…" else rest


def fit_any_width(text: str) -> str:
    """Shorten the rows of blanks, dots and equal signs that fill a terminal up to its width."""
    return re.sub(r"([ .=])\1{9,}", r"\1", text)


def test_three_dots_on_a_page_stand_for_anything():
    printed = f"first\nThe number is 17.\nmore\nlast {'=' * 99}\n"
    compare(f"first\nThe number is ….\n…\nlast {'=' * 50}\n", printed)
    compare("number is 17\n", printed)
    for wrong in ("The number is …!\n", "last\nfirst\n", "…\nfast\n"):
        with pytest.raises(AssertionError):
            compare(wrong, printed)


def type_all(terminal: Terminal, commands: list[str], fails: bool = False) -> str:
    """Type commands, which succeed but for the last one if it fails; return what they print."""
    everything = ""
    for command in commands:
        if command == SERVES_JUPYTER:
            visit_jupyter(terminal, command)
            continue
        if command.startswith("copier copy ") and "--defaults" not in command:
            everything += answer_questions(terminal, command)
            continue
        code, printed = terminal.run(command)
        everything += printed
        expected = fails and command == commands[-1]
        assert (code != 0) == expected, f"$ {command}\n{printed}\nexit code {code}"
    return everything


def answer_questions(terminal: Terminal, command: str) -> str:
    """Press Enter at each question that the command asks; return what it prints."""
    terminal.type(command + "\n")
    printed, asked = "", set()
    while (seen := terminal.read_until(QUESTION_OR_PROMPT, seconds=60))["help"]:
        printed += seen.string[: seen.end()]
        if seen["help"] not in asked:  # It is drawn again when it is answered.
            asked.add(seen["help"])
            terminal.type("\r")
    assert asked
    assert seen["code"] == "0", seen.string
    return printed + seen.string[: seen.start()]


def visit_jupyter(terminal: Terminal, command: str) -> None:
    """Start JupyterLab, get its page, and stop it with Ctrl+C: twice, where it asks."""
    terminal.type(command + "\n")
    printed = terminal.read_until(JUPYTER, seconds=120)
    address = printed[0]
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
