"""docker/start outside a container, where it is not process 1; test_matrix.py has it as process 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "template" / "docker" / "start"
HOME = [sys.executable, "-c", "import os; print(os.environ['HOME'], os.getpid())"]


def start(*command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(TOOL), *command],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_home_that_can_be_written_stays(tmp_path):
    assert start(*HOME, HOME=str(tmp_path)).stdout.split()[0] == str(tmp_path)


@pytest.mark.parametrize("home", ["/dev/null", "/nowhere", ""])
def test_any_other_home_is_replaced_by_a_private_folder_under_tmpdir(tmp_path, home):
    replaced = Path(start(*HOME, HOME=home, TMPDIR=str(tmp_path)).stdout.split()[0])
    assert replaced.parent == tmp_path
    assert replaced.stat().st_mode & 0o777 == 0o700


def test_the_command_takes_its_place():
    command = [sys.executable, str(TOOL), *HOME]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].split()[1] == str(process.pid)


def test_exit_codes_are_those_of_the_command():
    assert start("sh", "-c", "exit 7").returncode == 7


def test_a_command_that_is_not_there_is_said_in_one_sentence():
    result = start("no-such-command")
    assert result.returncode == 127
    assert result.stderr == "start: cannot run no-such-command: No such file or directory\n"


def test_without_a_command_it_says_how_to_use_it():
    result = start()
    assert result.returncode == 1
    assert "for example: start python --version" in result.stderr
