"""Write docs/reference/tools.md: what each program of a project says about itself.

    python docs/describe.py [--check]

The words are those of the programs: the text at the top of each, which is also what `--help` begins with.
With --check nothing is written. Exit codes: 0 done, 1 the page does not fit the programs, 2 wrong usage.
"""

import ast
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/reference/tools.md"
CUDA = "{% if stack == 'deep-learning' and accelerator == 'cuda' %}gpu.py{% endif %}"
ONE_LOCK = "{% if dependency_manager == 'requirements' %}tools{% endif %}"
PROGRAMS = {
    "tools/packages.py": "template/tools/packages.py",
    "tools/lockcheck.py": f"template/{ONE_LOCK}/lockcheck.py",
    "tools/nbclean.py": "template/tools/nbclean.py",
    "tools/findsecrets.py": "template/tools/findsecrets.py",
    "tools/job.py": "template/tools/job.py",
    "tools/gpu.py": f"template/tools/{CUDA}",
    "tools/update.py": "template/tools/update.py",
    **{
        f"docker/{name}": f"template/docker/{name}"
        for name in (
            *("build", "notebook", "install-wheels", "apt-install", "find-libdeps"),
            "wait-for-port",
        )
    },
}
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
        f"## `{name}`\n\n{textwrap.indent(text_of(ROOT / path), '    ')}\n"
        for name, path in PROGRAMS.items()
    ]
    text = "\n".join([HEAD, *parts])
    if sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/reference/tools.md does not fit the programs: run `make docs`.")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def text_of(program: Path) -> str:
    """Return the docstring of a Python program, or the first comment of a shell script."""
    source = program.read_text(encoding="utf-8")
    if '"""' in source[:40]:
        return ast.get_docstring(ast.parse(source)) or ""
    lines = source.splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


if __name__ == "__main__":
    sys.exit(main())
