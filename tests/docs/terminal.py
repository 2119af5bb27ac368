"""A bash in a terminal, into which commands are typed as a person types them."""

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

# In a pseudo-terminal, programs can ask questions and get Ctrl+C.
BASH = ["bash", "--norc", "--noediting", "-i"]
KEYS_PER_MINUTE = int(os.environ.get("PINBOOK_KEYS_PER_MINUTE", "0"))
PROMPT = re.compile(r"<exit (?P<code>\d+)>\n")


class Terminal:
    """One shell session. What it prints is given back without colours and carriage returns."""

    def __init__(self, start: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self._unread = b""
        self._shell = subprocess.Popen(
            [sys.executable, "-c", f"import pty; pty.spawn({BASH})"],
            bufsize=0,
            cwd=start,
            env=environment | {"PROMPT_COMMAND": 'echo "<exit $?>"', "PS1": "", "TERM": "xterm"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.read_until(PROMPT)
        self.run("stty -echo columns 300")

    def run(self, command: str) -> tuple[int, str]:
        """Type a command; return its exit code and what it printed."""
        self.type(command + "\n")
        prompt = self.read_until(PROMPT)
        return int(prompt["code"]), prompt.string[: prompt.start()]

    @property
    def folder(self) -> Path:
        """The folder that the shell is in."""
        return Path(self.run("pwd")[1].strip())

    def type(self, text: str) -> None:
        """Type at once, or key by key where PINBOOK_KEYS_PER_MINUTE says how fast."""
        if not KEYS_PER_MINUTE:
            self._shell.stdin.write(text.encode())
            return
        for key in text:
            time.sleep(60 / KEYS_PER_MINUTE)
            self._shell.stdin.write(key.encode())

    def read_until(self, pattern: re.Pattern, seconds: float = 300) -> re.Match:
        """Read up to the first match, and return it; its string is all that was read."""
        end = time.monotonic() + seconds
        while not (match := pattern.search(plain(self._unread))):
            ready, _, _ = select.select([self._shell.stdout], [], [], end - time.monotonic())
            piece = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            assert piece, f"{pattern.pattern!r} does not come:\n{plain(self._unread)}"
            self._unread += piece
        self._unread = match.string[match.end() :].encode()
        return match

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._shell.terminate()
        self._shell.communicate()


def plain(output: bytes) -> str:
    return re.sub(r"\x1b[\[\]][\d;?]*[A-Za-z]|\r", "", output.decode(errors="replace"))
