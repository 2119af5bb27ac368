"""Bring the newest version of the template into this project, or show first what would come.

    python tools/update.py                  update
    python tools/update.py --check          show what an update would change; write nothing
    python tools/update.py --drift          show where this project has edited the template's files
    python tools/update.py --data ci=none   update, and change this answer

Copier works in a clone of the last commit, and git then applies the result to the project, staged.

Exit codes: 0 done, or nothing to do; 1 not possible (one sentence says why); 2 wrong usage; 3 the
project and the template have changed the same lines, and markers show both. `make` makes 2 of 1 and 3.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # Python leaves it out if PYTHONSAFEPATH is set.
from packages import environment, find_uv

ANSWERS = ".copier-answers.yml"
COPIER = "copier>=9.18.0,!=9.19.0,<10"
RECOPY = ("recopy", "--force", "--vcs-ref=:current:")
MARKERS = "^(<<<<<<< before updating|>>>>>>> after updating)"
# Copier gets only those git settings of a person that reach a template, because others do harm without
# a word: with apply.whitespace=error, Copier drops the project's own lines.
SETTINGS = re.compile(r"(credential|http|protocol|safe|ssh|url)\.|core\.(askpass|sshcommand)\n")
VARIABLES = re.compile(r"(?!GIT_)|GIT_(ALLOW_PROTOCOL|ASKPASS|HTTP|PROXY|SSH|SSL|TERMINAL_PROMPT)")
# These settings overrule those of any repository. The last two keep a folder that somebody has laid out
# as a git repository from naming a program that git would run.
OVERRIDES = {"core.excludesfile": os.devnull, "core.attributesfile": os.devnull}
OVERRIDES |= {"apply.whitespace": "nowarn", "apply.ignorewhitespace": "no", "core.autocrlf": "no"}
OVERRIDES |= {"core.fsmonitor": "false", "safe.bareRepository": "explicit"}
STARTS = "An update starts from a commit: `git init`, `git add .`, `git commit`."
UNDO = "`git restore --staged --worktree .`, then `git clean --interactive -d` for added files"


class Problem(Exception):
    """What keeps an update from being made, in one sentence."""


def main() -> None:
    """Update, or show an update or the drift, and end with the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="show an update, and write nothing")
    only.add_argument("--drift", action="store_true", help="show edits of the template's files")
    parser.add_argument(
        "--data", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="new answers"
    )
    args = parser.parse_args()
    for change in args.data:
        if not re.match(r"[a-z]\w*=", change):
            example = "python_version=3.14 (with make: DATA=\"'KEY=SOME VALUE'\")"
            parser.error(f"{change} is not KEY=VALUE, like {example}")
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if args.drift:
                show_drift(Path(folder))
            else:
                update(Path(folder), args.data, args.check)
    except Problem as problem:
        sys.exit(without_password(str(problem)))
    except KeyboardInterrupt:
        sys.exit(130)


def update(folder: Path, data: list[str], check: bool) -> None:
    """Update a clone and, unless this is a check, bring what has changed there into the project."""
    clone = Clone(folder / "updated")
    if not check:
        refuse_changes()
    was = clone.answers()
    clone.copier("update", "--defaults", *[f"--data={change}" for change in data])
    now = clone.answers()
    for name in [change.partition("=")[0] for change in data]:
        if name not in now:
            raise Problem(f"The template does not ask for {name}; {ANSWERS} lists its questions.")
    keep_answers(clone, {name: was[name] for name in was.keys() - now})
    keep_files(clone, folder / "rendered")
    if not clone.changed():
        print(f"Nothing to do: {was['_commit']} is the newest version of the template.")
        return

    if not check:
        place(clone)
    print("Template", " -> ".join(dict.fromkeys([was["_commit"], now["_commit"]])))
    print("from", without_password(now["_src_path"]))
    print(clone.diff("--stat", "--summary", *["--patch"] * check))
    conflicts = sorted(clone.changed(f"-G{MARKERS}") | clone.changed("--", "*.rej"))
    if conflicts:
        print("You and the template have changed the same lines in:", *conflicts)
    if check:
        print("Nothing is written yet: `make update` does it.")
    else:
        print("\nLook at it:  git diff --staged")
        print(
            "Keep it:     " + "edit the files above, `git add` them, then: " * bool(conflicts),
            end="",
        )
        print(f"git commit --message 'Update to {now['_commit']} of the template'")
        print("Undo it:     git restore --staged --worktree .")
        print("If it touches versions or hooks, `make setup` then brings .venv up to date.")
    if conflicts:
        sys.exit(3)


def keep_answers(clone: Clone, lost: dict[str, str]) -> None:
    """Write answers back that the new version does not ask for, so that no update forgets them."""
    with (clone.folder / ANSWERS).open("a", encoding="utf-8") as file:
        for name, answer in sorted(lost.items()):
            file.write(f"{name}: {answer}\n")
            print(f"{name} stays in {ANSWERS}, though the template no longer asks for it.")
    clone.git("add", ANSWERS)


def keep_files(clone: Clone, folder: Path) -> None:
    """Put back what Copier cannot merge, or what is the person's own, and say so."""
    removed, merged = clone.changed("--diff-filter=D"), clone.changed("--diff-filter=MT")
    tree = clone.git("ls-tree", "-rz", "HEAD", ".").decode(errors="replace")
    links = set(re.findall(r"120000 \w+ \w+\t([^\0]+)", tree))
    ignored = clone.paths("ls-files", "--cached", "--ignored", "--exclude-standard")
    kept = dict.fromkeys(merged & ignored, "git ignores it")
    kept |= dict.fromkeys(filter(clone.is_no_text, merged), "it is not UTF-8 text")
    conflicts = clone.changed(f"-G{MARKERS}") - kept.keys()
    if removed or links or conflicts:
        rendered = Clone(folder)
        rendered.copier(*RECOPY)
        edited = rendered.changed("--diff-filter=MT")
        kept |= dict.fromkeys(links & (edited | merged), "it is a link")
        kept |= dict.fromkeys(removed & edited, "you have changed it, and the template dropped it")
        kept |= dict.fromkeys(conflicts - edited, "you added it; the template now has one too")
    for path, reason in sorted(kept.items()):
        clone.git("checkout", "HEAD", "--", f":(literal){path}")
        print(f"{path} stays as it is, because {reason}.")


def place(clone: Clone) -> None:
    """Apply to the project what has changed in the clone, whole or not at all."""
    changed, added = clone.changed(), clone.changed("--diff-filter=A")
    if in_the_way := sorted(filter(os.path.lexists, added)):
        raise Problem(f"Move these away, because the template brings them: {' '.join(in_the_way)}")
    flagged = git("ls-files", "-vz").decode(errors="replace").split("\0")
    hidden = {line[2:] for line in flagged if line[:1] == "S" or line[:1].islower()}
    if hidden := {path for path in hidden & changed if os.path.lexists(path)}:
        raise Problem(
            "Git hides edits of these: `git update-index --no-skip-worktree --no-assume-unchanged"
            f" {' '.join(sorted(hidden))}`, and commit what you have changed there."
        )
    try:
        patch = clone.git("diff", "--cached", "--binary", "--no-renames")
        git("apply", "--index", cwd=clone.top, env=clone.environment, input=patch)
    except (Problem, KeyboardInterrupt) as error:
        killed = " ended with -" in str(error)  # Such a git leaves its lock behind.
        raise Problem(f"{restore(changed, added, killed)} {error}") from error


def restore(changed: set[str], added: set[str], killed: bool) -> str:
    """Bring the last commit's files back after half an update, and say whether that was possible."""
    lock = Path(os.fsdecode(git("rev-parse", "--git-path", "index.lock").strip()))
    try:
        if killed:
            lock.unlink(missing_ok=True)
        for path in added:
            Path(path).unlink(missing_ok=True)
        git("reset", "--quiet", "--", ".")
        git("restore", "--", *sorted(changed - added))
        if not git("status", "--porcelain", "."):
            return "Nothing is changed."
    except (Problem, OSError):
        pass
    return f"A part of the update is in your files. Undo it: {UNDO}. The cause:"


def show_drift(folder: Path) -> None:
    """Show how the template's files differ from what their version of the template makes."""
    clone = Clone(folder / "rendered")
    clone.copier(*RECOPY)
    edited = "--diff-filter=MT"  # A deleted file may have been the user's own.
    if clone.changed(edited):
        print("Lines with + are yours, lines with - are the template's.")
        print(clone.diff("-R", "--stat", "--patch", edited))
    else:
        print("The template's files are as the template makes them.")


def refuse_changes() -> None:
    """Refuse where an update could not be told from other changes, and be undone."""
    status = git("status", "--porcelain", "--untracked-files=normal", ".").decode(errors="replace")
    if ANSWERS in status or re.search(r"^(U.|.U|AA|DD) |\.rej$", status, re.MULTILINE):
        raise Problem(f"An update is not committed yet. Commit it, or undo it: {UNDO}.")
    if status:
        raise Problem(f"Commit or stash your changes first, so that you can undo it:\n{status}")


def without_password(text: str) -> str:
    """Return a text in which no address holds a user's name or password."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def git(*arguments: str, **options) -> bytes:
    """Run git and return what it prints; a Problem holds its error message."""
    try:
        result = subprocess.run(["git", *arguments], check=False, capture_output=True, **options)
    except FileNotFoundError as error:
        raise Problem("There is no git on this machine: install it.") from error
    if result.returncode:
        reason = result.stderr.decode(errors="replace").strip()
        raise Problem(reason or f"git {arguments[0]} ended with {result.returncode}.")
    return result.stdout


class Clone:
    """The last commit of this project in a folder where Copier may work."""

    def __init__(self, folder: Path) -> None:
        """Clone into a folder that is not there yet."""
        here = Path.cwd()
        if not any((parent / ".git").exists() for parent in [here, *here.parents]):
            raise Problem(STARTS)
        self.top = git("rev-parse", "--show-toplevel").decode().rstrip("\n")
        try:
            commit = git("rev-parse", "--quiet", "--verify", "HEAD").decode().strip()
        except Problem as problem:
            raise Problem(STARTS) from problem
        folder.mkdir()
        self.environment = {n: v for n, v in environment().items() if VARIABLES.match(n)}
        self.environment |= git_settings(folder.with_suffix(".gitconfig"))
        self.folder = folder
        self.git("clone", "--quiet", "--shared", "--no-checkout", self.top, ".")
        self.git("checkout", "--quiet", "--detach", commit)
        self.folder /= git("rev-parse", "--show-prefix").decode().rstrip("\n")
        if not (self.folder / ANSWERS).exists():
            raise Problem(f"{ANSWERS} is not in the last commit: restore it from an older one.")

    def git(self, *arguments: str) -> bytes:
        return git(*arguments, cwd=self.folder, env=self.environment)

    def paths(self, *command: str) -> set[str]:
        return set(self.git(*command, "-z").decode(errors="replace").split("\0")) - {""}

    def diff(self, *options: str) -> str:
        """Return how this differs from the last commit, as git diff prints it."""
        printed = self.git("diff", "--cached", "--relative", "--no-renames", *options)
        return printed.decode(errors="replace").strip("\n")

    def changed(self, *options: str) -> set[str]:
        """Return the paths that differ from the last commit."""
        printed = self.diff("-z", "--name-only", *options)
        return set(printed.split("\0")) - {""}

    def is_no_text(self, path: str) -> bool:
        """Return whether the last commit's version of a file is anything but UTF-8 text."""
        content = self.git("show", f"HEAD:./{path}")
        try:
            return "\0" in content.decode("utf-8")
        except UnicodeDecodeError:
            return True

    def answers(self) -> dict[str, str]:
        """Return the answers as they are written, by question."""
        text = (self.folder / ANSWERS).read_text(encoding="utf-8")
        return dict(re.findall(r"^(\w+): (.*(?:\n[ \n].*)*)", text, re.MULTILINE))

    def copier(self, *arguments: str) -> None:
        """Run Copier, and stage what it changes."""
        result = subprocess.run(
            [*copier_command(), *arguments],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            encoding="utf-8",
        )
        if result.returncode:
            raise Problem(self.reason(result.stderr))
        self.git("add", "--all", "--force", ".")

    def reason(self, printed: str) -> str:
        """Return why Copier failed, and what helps."""
        address = self.answers().get("_src_path", "")
        if "AssertionError" in printed or "IsADirectoryError" in printed:
            return "There is a folder where the template has a file: rename the folder, and commit."
        reason = re.split(r"^[\w.]*Error: ", printed, flags=re.MULTILINE)[-1].strip()
        if "must be a directory" in reason or address in reason:
            reason += f" (If the template has moved, correct _src_path in {ANSWERS} and commit.)"
        return f"Copier on {address}: {reason}"


def git_settings(path: Path) -> dict[str, str]:
    """Write the settings that Copier may know to a file, which also the git of a template reads."""
    path.touch()
    for setting in git("config", "--list", "--null").decode(errors="surrogateescape").split("\0"):
        if SETTINGS.match(setting):
            name, equals, value = setting.partition("\n")
            git("config", "--file", str(path), "--add", name, value if equals else "true")
    variables = {"GIT_CONFIG_GLOBAL": str(path), "GIT_CONFIG_NOSYSTEM": "1"}
    variables["GIT_CONFIG_COUNT"] = str(len(OVERRIDES))
    for number, (name, value) in enumerate(OVERRIDES.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def copier_command() -> list[str]:
    """Return the command of this machine's Copier, or of one that uv brings, a week old at least."""
    if copier := shutil.which("copier"):
        printed = subprocess.run([copier, "--version"], check=False, capture_output=True, text=True)
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", printed.stdout)
        number = tuple(map(int, version.groups())) if version else ()
        if (9, 18) <= number < (10,) and number != (9, 19, 0):
            return [copier]
    uv = find_uv()
    if not uv:
        raise Problem(f"There is neither uv nor {COPIER}: `make setup` brings uv.")
    week_ago = (datetime.now(UTC) - timedelta(days=7)).strftime("%Y-%m-%d")
    command = [os.path.abspath(uv), "tool", "run", "--quiet", "--python", sys.executable]
    return [*command, "--exclude-newer", week_ago, "--from", COPIER, "copier"]


if __name__ == "__main__":
    main()
