"""docker/apt-install, against an apt-get and a dpkg-query that write down what they are asked.

The real ones install and clean in test_libraries.py.
"""

import os
import subprocess

import pytest

from tests.support import DEBIAN

TOOL = DEBIAN / "apt-install"


@pytest.fixture
def apt(tmp_path):
    """Run the tool on lists; return its result and the calls of apt-get. Only bash is installed."""
    (tmp_path / "bin").mkdir()
    log = tmp_path / "log"
    fakes = {
        "apt-get": f'echo "$@" >> {log}; exit "${{APT_EXIT:-0}}"',
        "dpkg-query": '[ "$3" = bash ] && printf installed',
        # These would clean the machine that runs the tests.
        "find": f'echo find "$@" >> {log}',
        "rm": "exit 0",
    }
    for name, text in fakes.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(*lists: str, **environment: str):
        files = []
        for number, text in enumerate(lists):
            files.append(tmp_path / f"apt-{number}.txt")
            files[-1].write_text(text)
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        result = subprocess.run(
            [TOOL, *files],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path, **environment},
        )
        return result, log.read_text().splitlines() if log.exists() else []

    return run


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n  # nothing\n", "!libodbc.so.2 # optional\n", "bash\n"]
)
def test_where_nothing_is_missing_apt_is_not_asked(apt, text):
    result, calls = apt(text, "")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert all(call.startswith("find ") for call in calls)


def test_missing_packages_are_installed_once_and_sorted(apt):
    result, calls = apt(
        "libpq5 # the database\nffmpeg\r\nbash\n", "  ffmpeg  \n\nlibgl1=1.7.0-1+b2"
    )
    assert result.returncode == 0
    assert calls[0].endswith("update")
    assert calls[1].endswith(
        "install --yes --no-install-recommends ffmpeg libgl1=1.7.0-1+b2 libpq5"
    )


def test_downloads_are_tried_again(apt):
    _, calls = apt("ffmpeg")
    assert all("Acquire::Retries=3" in call for call in calls[:2])


def test_a_snapshot_date_reaches_both_commands(apt):
    _, calls = apt("ffmpeg", APT_SNAPSHOT="20261101T000000Z")
    assert all("--snapshot 20261101T000000Z" in call for call in calls[:2])


@pytest.mark.parametrize(
    "line", ["lib pq", "--allow-unauthenticated", "libpq5;true", "$(touch x)", "LibPQ", "*"]
)
def test_a_line_that_is_no_package_is_refused_by_name(apt, line):
    result, calls = apt(f"ffmpeg\n{line}\n")
    assert (result.returncode, calls) == (2, [])
    assert result.stderr == f"apt-install: this is not the name of a Debian package: {line}\n"


def test_the_exit_code_of_apt_get_is_passed_on(apt):
    result, calls = apt("ffmpeg", APT_EXIT="100")
    assert result.returncode == 100
    assert len(calls) == 1


def test_a_list_that_is_not_there_counts_as_empty(tmp_path):
    result = subprocess.run(
        [TOOL, tmp_path / "none.txt"], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_without_arguments_it_says_how_to_use_it():
    result = subprocess.run([TOOL], check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert "for example: apt-install apt-run.txt" in result.stderr
