"""Run `make demo`, and draw what the terminal showed as docs/pictures/demo.svg.

    make recording

Whatever a command prints beyond its first and last lines is left out, and the picture says so with `…`; no
word is changed. Exit codes: 0 done, otherwise that of `make demo`.
"""

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent / "pictures/demo.svg"
WIDTH = 100
# Lines of a command's output that are kept at its end; nothing is kept of most of a list of packages.
KEPT = 3
# A picture in a page may load nothing, so there is no font but those of the reader.
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
# The name of the picture's parts, which Rich would make of chance.
NAME = "demo"


def main() -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "demo"], check=False, stdout=subprocess.PIPE, text=True
    )
    if result.returncode:
        sys.exit(result.returncode)
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"), force_terminal=True)
    console.print(Text("$ make demo", style="bold"))
    here = str(Path.cwd())
    printed = result.stdout.replace(f"{here}/.venv/bin/", "").replace(f"{here}/", "").replace(here, ".")
    for line in shorten(printed.splitlines()):
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis")
    svg = console.export_svg(title="make demo", theme=MONOKAI, unique_id=NAME)
    PICTURE.write_text(FONT.sub("", svg) + "\n", encoding="utf-8")


def shorten(lines: list[str]) -> list[str]:
    """Return the commands and headings, and the last lines of what each command printed."""
    shown: list[str] = []
    printed: list[str] = []
    for line in [*lines, "$ "]:
        if line.startswith(("$ ", "\x1b[1m==")):
            shown += ["…", *printed[-KEPT:]] if len(printed) > KEPT else printed
            shown += ["", line] if "==" in line[:8] else [line]
            printed = []
        elif line.strip():
            printed.append(line)
    return shown[:-1]


if __name__ == "__main__":
    main()
