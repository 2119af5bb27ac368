"""docker/wait-for-port waits for all servers, never longer than it was told to."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "template" / "docker" / "wait-for-port"


def wait(*arguments: str, limit: float = 60) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit)


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with listening() as port:
        return port


@contextmanager
def swallowing():
    """A port whose queue is full: it answers nothing, like one behind a firewall."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_it_ends_at_once_when_all_answer():
    with listening() as one, listening() as two:
        result = wait(f"127.0.0.1:{one}", f"localhost:{two}", "--timeout", "30")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_it_reaches_ipv6():
    with listening("::1") as port:
        assert wait(f"[::1]:{port}", "--timeout", "20").returncode == 0


def test_a_name_with_two_addresses_is_reached_on_either():
    with listening("127.0.0.1") as port:
        assert wait(f"localhost:{port}", "--timeout", "20").returncode == 0


def test_it_waits_for_a_server_that_comes_late():
    port = free_port()
    stop = threading.Event()

    def serve():
        time.sleep(1)
        with listening(port=port):
            stop.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    result = wait(f"127.0.0.1:{port}", "--timeout", "30")
    stop.set()
    thread.join()
    assert result.returncode == 0


def test_a_server_that_has_answered_may_go_away_again():
    """Two servers that are never there at the same time."""
    early, late = free_port(), free_port()

    def serve():
        with listening(port=early) as _, socket.socket():
            time.sleep(2)
        with listening(port=late):
            time.sleep(4)

    thread = threading.Thread(target=serve)
    thread.start()
    result = wait(f"127.0.0.1:{early}", f"127.0.0.1:{late}", "-t", "30")
    thread.join()
    assert result.returncode == 0


def test_silence_ends_with_10_and_names_who_was_silent():
    silent = free_port()
    with listening() as port:
        result = wait(f"127.0.0.1:{port}", f"127.0.0.1:{silent}", "--timeout", "1")
    assert result.returncode == 10
    assert result.stderr == f"wait-for-port: no answer after 1 s: 127.0.0.1:{silent}\n"


def test_the_deadline_holds_where_packets_are_swallowed():
    """A plain connect would block for minutes there; so would one after the other."""
    with swallowing() as port, listening() as other:
        servers = [f"127.0.0.1:{port}"] * 5 + [
            f"127.0.0.1:{other}",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
        ]
        result = wait(*servers, "--timeout", "1", limit=30)
    assert result.returncode == 10
    assert str(other) not in result.stderr


def test_a_name_that_nobody_knows_yet_is_asked_again():
    result = wait("nowhere.invalid:80", "x" * 70 + ":80", "--timeout", "1")
    assert result.returncode == 10
    assert result.stderr.count("\n") == 1


def test_the_command_runs_in_its_place_with_its_exit_code():
    with listening() as port:
        result = wait(
            f"127.0.0.1:{port}", "--", "sh", "-c", "echo $0 $1; exit 7", "a b", "--timeout"
        )
    assert (result.returncode, result.stdout) == (7, "a b --timeout\n")


def test_the_command_does_not_run_after_a_timeout():
    result = wait(f"127.0.0.1:{free_port()}", "-t", "1", "--", "echo", "ran")
    assert (result.returncode, result.stdout) == (10, "")


def test_a_command_that_is_not_there_is_said_in_one_sentence():
    with listening() as port:
        result = wait(f"127.0.0.1:{port}", "--", "no-such-command")
    assert result.returncode == 127
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["db"],
        ["db:"],
        ["db:http"],
        ["db:0"],
        ["db:65536"],
        [":80"],
        ["db:80", "--timeout", "nan"],
        ["db:80", "--timeout", "soon"],
        ["db:80", "--timeout", "0.5"],
        ["--", "echo"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_usage_errors(arguments):
    result = wait(*arguments)
    assert result.returncode == 2
    assert "usage:" in result.stderr
    assert "Traceback" not in result.stderr
