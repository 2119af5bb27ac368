"""Run `make demo`, and draw what the terminal showed as docs/pictures/demo.svg.

    make recording

The last lines that each command prints are shown, and those that say what the hook has done. Of the others,
and of how long the tests took, the picture says `…`. Exit codes: 0 done, otherwise that of `make demo`.
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent / "pictures/demo.svg"
WIDTH = 108
LAST_LINES = 2
HOOK = re.compile(r"clean notebooks|nbclean|cleaned;|^(Run|Look|To )")
DURATION = re.compile(r"\d[\d.]*s(?: \([\d:]+\))?(?= =)")
# A picture in a page may load nothing, so there is no font but those of the reader.
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
# The name of the picture's parts, which Rich would make of chance.
NAME = "demo"


def main() -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "demo"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        sys.exit(result.returncode)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo", style="bold"))
    here = str(Path.cwd())
    printed = (
        result.stdout.replace(f"{here}/.venv/bin/", "").replace(f"{here}/", "").replace(here, ".")
    )
    for line in shorten(DURATION.sub("…", printed).splitlines()):
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis")
    svg = console.export_svg(title="make demo", theme=MONOKAI, unique_id=NAME)
    lines = [line.rstrip() for line in FONT.sub("", svg).strip().splitlines()]
    PICTURE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shorten(lines: list[str]) -> list[str]:
    """Return the commands and headings, and a part of what each command printed."""
    shown: list[str] = []
    printed: list[str] = []
    for line in [*lines, "$ "]:
        if line.startswith(("$ ", "\x1b[1m==")):
            shown += without_middle(printed)
            shown += [line] if line[0] == "$" else ["", line]
            printed = []
        elif line.strip():
            printed.append(line)
    return shown[:-1]


def without_middle(printed: list[str]) -> list[str]:
    """Return what the hook says and the last lines, with `…` for each gap."""
    kept: list[str] = []
    for number, line in enumerate(printed):
        if number >= len(printed) - LAST_LINES or HOOK.search(line):
            kept.append(line)
        elif kept[-1:] != ["…"]:
            kept.append("…")
    return kept


if __name__ == "__main__":
    main()
