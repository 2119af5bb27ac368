"""The search for secrets: what it finds, what it leaves alone, and the way out of a false alarm."""

import json
import re
import subprocess
import sys

import pytest

from tests.hooks import leaks
from tests.hooks.measure_secrets import found_by_us
from tests.hooks.notebook_project import TEMPLATE

HINT = "No secret? Add the code in brackets to `allow` of [tool.findsecrets] in pyproject.toml."
MISSED = {"password in prose", "password of words"}  # A person would have to read them.


@pytest.fixture
def search(tmp_path):
    """A function that writes a file, and searches it with these settings."""

    def run(name: str, text: str, settings: str = "") -> subprocess.CompletedProcess:
        (tmp_path / "pyproject.toml").write_text(settings)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        command = [sys.executable, TEMPLATE / "tools/findsecrets.py", name]
        return subprocess.run(
            command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=20
        )

    return run


def test_the_lists_are_long_enough_to_tell_something():
    assert len(leaks.SECRETS) >= 58
    assert len(leaks.HARMLESS) >= 58


def test_all_secrets_but_those_of_plain_words_are_found(tmp_path):
    assert set(leaks.SECRETS) - found_by_us(leaks.SECRETS, tmp_path / "secrets") == MISSED


def test_no_harmless_file_is_refused(tmp_path):
    assert found_by_us(leaks.HARMLESS, tmp_path / "harmless") == set()


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.json", f'{{"x": 1,\n "password": "{leaks.PASSWORD}"}}\n', "line 2"),
        (
            "n.ipynb",
            leaks.notebook("import os", f'password = "{leaks.PASSWORD}"'),
            "cell 1, line 2",
        ),
        ("n.ipynb", leaks.shown(leaks.OPENAI), "outputs, line"),
    ],
    ids=["JSON", "source of a cell", "output"],
)
def test_a_false_alarm_passes_by_its_code_or_file(search, name, text, place):
    refused = search(name, text)
    assert refused.returncode == 1
    assert refused.stdout.startswith(f"{name}: {place}")
    assert refused.stdout.splitlines()[-1] == HINT
    code = re.search(r"\((\w{12})\)", refused.stdout)[1]
    for allowed in code, "*.json" if name == "a.json" else "*.ipynb":
        passed = search(name, text, f'[tool.findsecrets]\nallow = ["{allowed}"]\n')
        assert (passed.returncode, passed.stdout, passed.stderr) == (0, "", "")


def test_a_comment_admits_its_line_in_code_and_in_a_cell(search):
    line = f'password = "{leaks.PASSWORD}"  # pragma: allowlist secret'
    assert search("a.py", f"{line}\n").returncode == 0
    assert search("n.ipynb", leaks.notebook(line)).returncode == 0


def test_the_value_of_a_secret_is_not_printed(search):
    assert leaks.PASSWORD not in search("a.py", f'password = "{leaks.PASSWORD}"\n').stdout


def test_a_broken_notebook_is_searched_as_text(search):
    cut = leaks.notebook(f'login("{leaks.OPENAI}")')[:-20]
    assert search("n.ipynb", cut).stdout.startswith("n.ipynb: line")


@pytest.mark.parametrize("cells", [[], None, 1, ["x"], [{"source": 1}], {"a": 1}])
def test_files_that_only_look_like_notebooks_are_searched(search, cells):
    text = json.dumps({"cells": cells, "password": leaks.PASSWORD}, indent=1)
    assert search("n.json", text).returncode == (0 if cells == [] else 1)


def test_a_large_line_costs_no_long_time(search):
    assert search("n.html", "a.b_c-" * 30_000 + "=" * 300_000).returncode == 0
