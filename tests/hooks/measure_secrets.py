"""Measure searches for secrets on the files of `leaks`: `python -m tests.hooks.measure_secrets`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hooks.leaks import HARMLESS, SECRETS
from tests.hooks.notebook_project import TEMPLATE
from tests.support import BIN

FILTER = "--disable-filter", "detect_secrets.filters.heuristic.is_indirect_reference"
HEX, BASE64 = (("--disable-plugin", f"{kind}HighEntropyString") for kind in ("Hex", "Base64"))
SEARCHES = {
    "detect-secrets-hook": (),
    "no indirect references": FILTER,
    "and no hexadecimal strings": (*FILTER, *HEX),
    "and no random strings": (*FILTER, *HEX, *BASE64),
}


def lay_out(files: dict[str, tuple[str, str]], folder: Path) -> dict[str, str]:
    """Write each file to a folder of its own; return the name of the case by path."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    paths = {}
    for number, (case, (name, text)) in enumerate(files.items()):
        (folder / str(number) / name).parent.mkdir(parents=True)
        (folder / str(number) / name).write_text(text, encoding="utf-8")
        paths[f"{number}/{name}"] = case
    return paths


def search(command: list, folder: Path, paths: dict[str, str]) -> str:
    done = subprocess.run(
        [*command, *paths], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def found_by_us(files: dict[str, tuple[str, str]], folder: Path) -> set[str]:
    """The cases that tools/findsecrets.py refuses."""
    paths = lay_out(files, folder)
    printed = search([sys.executable, TEMPLATE / "tools/findsecrets.py"], folder, paths)
    return {paths[line.split(": ")[0]] for line in printed.splitlines()[:-1]}


def found_by_detect_secrets(
    files: dict[str, tuple[str, str]], folder: Path, options: tuple
) -> set[str]:
    paths = lay_out(files, folder)
    command = [
        BIN / "detect-secrets-hook",
        "--json",
        "--no-verify",
        "--exclude-lines",
        '^ *"image/',
        *options,
        "--",
    ]
    printed = search(command, folder, paths)
    return {paths[path] for path in json.loads(printed)["results"]} if printed else set()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"| search | secrets found, of {len(SECRETS)} | harmless refused, of {len(HARMLESS)} |\n|---|--:|--:|"
        )
        for number, (name, options) in enumerate(SEARCHES.items()):
            both = [
                len(found_by_detect_secrets(files, Path(folder, f"{number} {kind}"), options))
                for kind, files in {"secrets": SECRETS, "harmless": HARMLESS}.items()
            ]
            print(f"| {name} | {both[0]} | {both[1]} |")
        both = [
            len(found_by_us(files, Path(folder, str(len(files))))) for files in (SECRETS, HARMLESS)
        ]
        print(f"| tools/findsecrets.py | {both[0]} | {both[1]} |")


if __name__ == "__main__":
    main()
