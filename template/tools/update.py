"""Bring the newest version of the template into this project, or show first what would come.

    python tools/update.py                  update
    python tools/update.py --check          show what an update would change; write nothing
    python tools/update.py --drift          show where this project has edited the template's files
    python tools/update.py --data ci=none   update, and change this answer

Copier works in a clone of the last commit. The result then comes into the project, staged, whole or
not at all, so that nothing is lost when this is stopped half-way.

Exit codes: 0 done, or nothing to do; 1 not possible (it says why), and nothing is changed; 2 wrong
usage; 3 the project and the template have changed the same lines, and markers show both.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where PYTHONSAFEPATH leaves it out
from packages import environment, find_uv, output

ANSWERS = ".copier-answers.yml"
COPIER = "copier>=9.15.0,!=9.19.0,<10"
MARKERS = "^(<<<<<<< before updating|>>>>>>> after updating)"
# What reaches a template, perhaps a private one. No other git settings reach Copier, because some do
# harm without a word: with apply.whitespace=error, it drops the project's own lines.
SETTINGS = re.compile(r"(credential|http|protocol|safe|ssh|url)\.|core\.(askpass|sshcommand)\n")
VARIABLES = re.compile(r"(?!GIT_)|GIT_(ALLOW_PROTOCOL|ASKPASS|HTTP|PROXY|SSH|SSL|TERMINAL_PROMPT)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="show an update, and write nothing")
    only.add_argument("--drift", action="store_true", help="show edits of the template's files")
    several = {"metavar": "KEY=VALUE", "nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--data", help="change these answers", **several)
    args = parser.parse_args()
    for change in args.data:
        if not re.match(r"[a-z]\w*=", change):
            parser.error(
                f"{change} is not KEY=VALUE, like python_version=3.14 (with make: DATA=\"'KEY=SOME VALUE'\")"
            )

    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if args.drift:
                show_drift(Path(folder))
            else:
                update(Path(folder), args.data, args.check)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Nothing is changed. {error.stderr.decode(errors='replace').strip()}")
    except KeyboardInterrupt:
        sys.exit(130)


def update(folder: Path, data: list[str], check: bool) -> None:
    """Update a clone and, unless this is a check, bring what has changed there into the project."""
    clone = Clone(folder / "updated")
    if not check:
        refuse_changes()
    versions = [clone.answer("_commit")]
    clone.copier("update", "--defaults", *[f"--data={change}" for change in data])
    for change in data:
        name = change.partition("=")[0]
        if not clone.answer(name):
            sys.exit(f"The template does not ask for {name}; {ANSWERS} lists what it asks for.")

    removed = clone.changed("--diff-filter=D")
    if removed:
        rendered = Clone(folder / "rendered")
        rendered.copier("recopy", "--force", "--vcs-ref=:current:")
        for path in sorted(removed & rendered.changed("--diff-filter=M")):
            clone.git("checkout", "HEAD", "--", path)
            print(f"{path} stays, because you have changed it; the template has it no more.")
    if not clone.changed():
        print(f"Nothing to do: {versions[0]} is the newest version of the template.")
        return

    versions.append(clone.answer("_commit"))
    print("Template", " -> ".join(dict.fromkeys(versions)))
    print(clone.diff("--stat", "--summary", *["--patch"] * check))
    conflicts = clone.changed(f"-G{MARKERS}") | clone.changed("--", "*.rej")
    if not check:
        patch = clone.git("diff", "--cached", "--binary")
        clone.git("apply", "--index", cwd=clone.top, input=patch)
    if conflicts:
        print("You and the template have changed the same lines in:", *sorted(conflicts))
    if check:
        print("Nothing is written yet: `make update` does it.")
    else:
        print("\nLook at it:  git diff --staged")
        print(f"Keep it:     git commit --message 'Update to {versions[1]} of the template'")
        print("Undo it:     git restore --staged --worktree .")
        print("If it touches versions or hooks, `make setup` then brings .venv up to date.")
    if conflicts:
        sys.exit(3)


def show_drift(folder: Path) -> None:
    """Show how the template's files differ from what their version of the template makes."""
    clone = Clone(folder / "rendered")
    clone.copier("recopy", "--force", "--vcs-ref=:current:")
    # This brings back what is missing. What a second time leaves alone is not the template's.
    missing = [clone.folder / path for path in clone.changed("--diff-filter=A")]
    for path in missing:
        path.write_text("not the template's", encoding="utf-8")
    clone.copier("recopy", "--force", "--vcs-ref=:current:")
    for path in missing:
        if path.read_text(encoding="utf-8") == "not the template's":
            path.unlink()
    clone.git("add", "--all", "--force", ".")
    if clone.changed():
        print("Lines with + are yours, lines with - are the template's.")
        print(clone.diff("-R", "--stat", "--patch"))
    else:
        print("The template's files are as the template makes them.")


def refuse_changes() -> None:
    """End with a sentence where an update could not be told from other changes, and be undone."""
    status = output("git", "status", "--porcelain", "--untracked-files=normal", ".")
    if ANSWERS in status or re.search(r"^(U.|.U|AA|DD) |\.rej$", status, re.MULTILINE):
        sys.exit(
            "An update is not committed yet. Commit it, or undo it: `git restore --staged"
            " --worktree .`, then `git clean --interactive -d` for the files that it added."
        )
    if status:
        sys.exit(f"Commit or stash your changes first, so that you can undo an update:\n{status}")


class Clone:
    """The last commit of this project in a folder where Copier may work."""

    def __init__(self, folder: Path) -> None:
        """Clone into a folder that is not there yet."""
        self.environment = {n: v for n, v in environment().items() if VARIABLES.match(n)}
        self.environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        settings = output("git", "config", "--list", "--null").split("\0")
        settings = [setting for setting in settings if SETTINGS.match(setting)]
        # These rule over the repository's own, and over a person's files that no setting names.
        settings += [f"core.{kind}file\n{os.devnull}" for kind in ("excludes", "attributes")]
        settings += ["apply.whitespace\nnowarn", "apply.ignorewhitespace\nno", "core.autocrlf\nno"]
        self.environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, setting in enumerate(settings):
            name, equals, value = setting.partition("\n")
            self.environment[f"GIT_CONFIG_KEY_{number}"] = name
            self.environment[f"GIT_CONFIG_VALUE_{number}"] = value if equals else "true"

        self.top = output("git", "rev-parse", "--show-toplevel")
        commit = output("git", "rev-parse", "--verify", "HEAD")
        if not commit:
            sys.exit("An update starts from a commit: `git init`, `git add .`, `git commit`.")
        self.folder = folder
        folder.mkdir()
        self.git("clone", "--quiet", "--shared", "--no-checkout", self.top, ".")
        self.git("checkout", "--quiet", "--detach", commit)
        self.folder /= output("git", "rev-parse", "--show-prefix")
        if not (self.folder / ANSWERS).exists():
            sys.exit(f"{ANSWERS} is not in the last commit: bring it back from an older one.")

    def git(self, *arguments: str, **options) -> bytes:
        """Run git, here or where ``cwd`` says, and return what it prints."""
        options = {"cwd": self.folder, "env": self.environment, "capture_output": True} | options
        return subprocess.run(["git", *arguments], check=True, **options).stdout

    def diff(self, *options: str) -> str:
        """Return how this differs from the last commit, as git diff prints it."""
        difference = self.git("diff", "--cached", "--relative", "--no-renames", *options)
        return difference.decode(errors="replace").strip("\n")

    def changed(self, *options: str) -> set[str]:
        return set(self.diff("--name-only", *options).splitlines())

    def answer(self, name: str) -> str:
        """Return the answer to a question as it is written, or nothing where there is none."""
        answers = (self.folder / ANSWERS).read_text(encoding="utf-8")
        found = re.search(rf"^{name}: (.*)", answers, re.MULTILINE)
        return found[1] if found else ""

    def copier(self, *arguments: str) -> None:
        """Run Copier, that of this machine or one that uv brings, and stage what it changes."""
        command = [shutil.which("copier")]
        if not command[0]:
            uv = find_uv() or sys.exit("There is neither copier nor uv: `make setup` brings uv.")
            command = [os.path.abspath(uv), "tool", "run", "--quiet", "--python", sys.executable]
            command += ["--from", COPIER, "copier"]
        options = {"cwd": self.folder, "env": self.environment, "encoding": "utf-8"}
        command += arguments
        result = subprocess.run(command, check=False, capture_output=True, **options)
        if result.returncode:
            reason = re.split(r"^[\w.]*Error: ", result.stderr, flags=re.MULTILINE)[-1].strip()
            sys.exit(f"Nothing is changed. Copier on {self.answer('_src_path')}: {reason}")
        self.git("add", "--all", "--force", ".")


if __name__ == "__main__":
    main()
