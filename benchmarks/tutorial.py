"""Time the tutorial as a person goes through it: every command is typed key by key, and its end waited for.

Prints the minutes for that, and those for reading the page. What is done with the mouse takes no time
here. The first run fills caches, so the figure is that of the second. Needs a container engine.

    .venv/bin/python -m benchmarks.tutorial [--keys N] [--words N]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.project import ROOT

PAGE = "docs/tutorial/first-project.md"
TEST = f"tests/docs/test_commands.py::test_the_commands_of_a_page_do_what_it_says[{PAGE}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=200, help="keys a minute (default: 200)")
    parser.add_argument("--words", type=int, default=200, help="words a minute (default: 200)")
    args = parser.parse_args()

    follow(keys=10_000)
    at_the_keyboard = follow(args.keys) / 60
    reading = len(prose(ROOT / PAGE)) / args.words
    print(f"{at_the_keyboard:.1f} minutes of typing and waiting, {args.keys} keys a minute")
    print(f"{reading:.1f} minutes of reading, {args.words} words a minute")


def follow(keys: int) -> float:
    """Return the seconds that following the page takes, with that many keys a minute."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = [
            "--quiet",
            "--numprocesses=0",
            f"--basetemp={folder}/tests",
            f"--junit-xml={report}",
        ]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, TEST],
            check=True,
            cwd=ROOT,
            env=os.environ | {"PINBOOK_KEYS_PER_MINUTE": str(keys), "PINBOOK_REQUIRE_ENGINE": "1"},
            stdout=sys.stderr,
        )
        return float(ElementTree.parse(report).find(".//testcase").get("time"))


def prose(page: Path) -> list[str]:
    """Return the words of a page that are neither commands nor what these print."""
    text = page.read_text(encoding="utf-8")
    return re.sub(
        r"^```.*?^```$|<!--.*?-->|\]\(.*?\)", "", text, flags=re.MULTILINE | re.DOTALL
    ).split()


if __name__ == "__main__":
    main()
