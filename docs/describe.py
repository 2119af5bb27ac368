"""Write docs/reference/tools.md: what each program of a project says about itself.

    python docs/describe.py [--check]

The words are those of the programs: the text at the top of each, which is also what `--help` begins with.
With --check nothing is written. Exit codes: 0 done, 1 the page does not fit the programs, 2 wrong usage.
"""

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/reference/tools.md"
# A folder or a file that comes with some answers has them in its name.
ANSWERS = re.compile(r"{%.*?%}")
STARTS = re.compile(r"^ *(?:sys\.exit\()?main\(", re.MULTILINE)
FOLDERS = (
    "tools",
    "{% if dependency_manager == 'requirements' %}tools{% endif %}",
    "docker",
    # Both bases have a find-libdeps, and the page shows the last one.
    "{% if base_image == 'alpine' %}docker{% endif %}",
    "{% if base_image == 'debian' %}docker{% endif %}",
)

HEAD = """# Tools

What each program of a project says about itself: usage, environment variables and exit codes. `make docs` takes these
texts from the programs, so edit them there.

Most people need only the [commands of make](make.md), which call these programs.
"""


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    parts = [
        f"## `{name}`\n\n{textwrap.indent(text_of(path), '    ')}\n"
        for name, path in sorted(programs().items())
    ]
    text = "\n".join([HEAD, *parts])
    if sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/reference/tools.md does not fit the programs: run `make docs`.")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def programs() -> dict[str, Path]:
    """Return the programs of a project, without the modules that they share, by their names there."""
    paths = [path for folder in FOLDERS for path in (ROOT / "template" / folder).iterdir()]
    return {
        ANSWERS.sub("", path.relative_to(ROOT / "template").as_posix()).removesuffix(".jinja"): path
        for path in paths
        if "docker" in path.parent.name or STARTS.search(read(path))
    }


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def text_of(program: Path) -> str:
    """Return the docstring of a Python program, or the first comment of a shell script."""
    source = read(program)
    if '"""' in source[:40]:
        return ast.get_docstring(ast.parse(source)) or ""
    lines = source.splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


if __name__ == "__main__":
    sys.exit(main())
