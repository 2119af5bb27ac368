"""Bring the newest version of the template into this project, staged, or show first what would come.

Copier works in a clone of the last commit, and git then applies the result to the project.

Exit codes: 0 done, or nothing to do; 1 not possible (one sentence says why); 2 wrong usage; 3 the
project and the template have changed the same lines, and markers show both. `make` makes 2 of 1 and 3.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # Python leaves it out if PYTHONSAFEPATH is set.
from machine import environment, find_uv, output
from project import Problem, bare

ANSWERS = ".copier-answers.yml"
COPIER = "copier>=9.18.0,!=9.19.0,<10"
GOOD_COPIER = re.compile(r"\b9\.(?!19\.0\b)(1[89]|[2-9]\d)\.")
NO_TEXT = re.compile("[\0\udc80-\udcff]")  # A NUL, or what run() makes of bytes that are no UTF-8.
RECOPY = ("recopy", "--force", "--vcs-ref=:current:")
MARKERS = "-G^(<<<<<<< before updating|>>>>>>> after updating)"
# Copier gets only those git settings of a person that reach a template, because others do harm without
# a word: with apply.whitespace=error, Copier drops the project's own lines.
SETTINGS = re.compile(r"(credential|http|protocol|safe|ssh|url)\.|core\.(askpass|sshcommand)\n")
VARIABLES = re.compile(r"(?!GIT_)|GIT_(ALLOW_PROTOCOL|ASKPASS|HTTP|PROXY|SSH|SSL|TERMINAL_PROMPT)")
# These settings overrule those of any repository. The last two keep a folder that somebody has laid out
# as a git repository from naming a program that git would run.
OVERRIDES = {"core.excludesfile": os.devnull, "core.attributesfile": os.devnull}
OVERRIDES |= {"apply.whitespace": "nowarn", "apply.ignorewhitespace": "no", "core.autocrlf": "no"}
OVERRIDES |= {"core.fsmonitor": "false", "safe.bareRepository": "explicit"}
UNDO = "`git restore --staged --worktree .`, then `git clean --interactive -d` for added files"
NEXT = """
Look at it:  git diff --staged
Keep it:     {steps}git commit --message 'Update to {version} of the template'
Undo it:     git restore --staged --worktree .
If it touches versions or hooks, `make setup` then brings .venv up to date."""


def run(*command: str, given: str = "", **options) -> str:
    """Run a command and return what it prints; a Problem holds its error message."""
    options |= {"input": given.encode(errors="surrogateescape"), "capture_output": True}
    try:
        result = subprocess.run(command, check=False, **options)
    except FileNotFoundError as error:
        raise Problem(f"There is no {command[0]} on this machine: install it.") from error
    if result.returncode:
        reason = result.stderr.decode(errors="replace").strip()
        raise Problem(reason or f"{command[0]} ended with {result.returncode}.")
    return result.stdout.decode(errors="surrogateescape")


def git_settings(path: Path) -> dict[str, str]:
    """Write the settings that Copier may know to a file, which also the git of a template reads."""
    path.touch()
    for setting in run("git", "config", "--list", "--null").split("\0"):
        if SETTINGS.match(setting):
            name, equals, value = setting.partition("\n")
            run("git", "config", "--file", str(path), "--add", name, value if equals else "true")
    variables = {"GIT_CONFIG_GLOBAL": str(path), "GIT_CONFIG_NOSYSTEM": "1"}
    variables["GIT_CONFIG_COUNT"] = str(len(OVERRIDES))
    for number, (name, value) in enumerate(OVERRIDES.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def copier_command() -> list[str]:
    """Return the command of this machine's Copier, or of one that uv brings, a week old at least."""
    if (copier := shutil.which("copier")) and GOOD_COPIER.search(output(copier, "--version")):
        return [copier]
    if uv := find_uv():
        tool = [uv, "tool", "run", "--quiet", "--python", sys.executable]
        return [*tool, "--exclude-newer=7 days", "--from", COPIER, "copier"]
    raise Problem(f"There is neither uv nor {COPIER}: `make setup` brings uv.")


class Clone:
    """The last commit of this project in a folder where Copier may work."""

    def __init__(self, folder: Path) -> None:
        try:
            run("git", "rev-parse", "--verify", "HEAD")
        except Problem as problem:
            if not re.search("not a git repository|Needed a single revision", str(problem)):
                raise
            starts = "An update starts from a commit: `git init`, `git add .`, `git commit`."
            raise Problem(starts) from None
        self.top = run("git", "rev-parse", "--show-toplevel").rstrip("\n")
        self.environment = {n: v for n, v in environment().items() if VARIABLES.match(n)}
        self.environment |= git_settings(folder.with_suffix(".gitconfig"))
        self.parent = folder.parent
        run("git", "clone", "--quiet", "--shared", self.top, str(folder), env=self.environment)
        self.folder = folder / run("git", "rev-parse", "--show-prefix").rstrip("\n")
        if not (self.folder / ANSWERS).exists():
            raise Problem(f"{ANSWERS} is not in the last commit: restore it from an older one.")

    def git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.folder, env=self.environment)

    def diff(self, *options: str) -> str:
        """Return how this differs from the last commit, as git diff prints it."""
        return self.git("diff", "--cached", "--relative", "--no-renames", *options).strip("\n")

    def changed(self, *options: str) -> set[str]:
        """Return the paths that differ from the last commit."""
        return set(self.diff("-z", "--name-only", *options).split("\0")) - {""}

    def answers(self, commit: str = "") -> dict[str, str]:
        """Return the answers of a commit, or those that are staged, as they are written."""
        text = self.git("show", f"{commit}:./{ANSWERS}").replace("\r", "")
        return dict(re.findall(r"^(\w+): (.*(?:\n[ \n].*)*)", text, re.MULTILINE))

    def copier(self, *arguments: str) -> None:
        """Run Copier, and stage what it changes; a Problem says why it failed, and what helps."""
        command, address = copier_command(), self.answers("HEAD").get("_src_path", "")
        try:
            run(*command, *arguments, cwd=self.folder, env=self.environment)
        except Problem as problem:
            reason = re.split(r"^[\w.]*Error: ", str(problem), flags=re.MULTILINE)[-1].strip()
            if re.search("AssertionError|IsADirectoryError", str(problem)):
                reason = "There is a folder where the template has a file: rename it, and commit."
            elif "must be a directory" in reason or address in reason:
                reason += f" If the template has moved, correct _src_path in {ANSWERS} and commit."
            raise Problem(f"Copier on {address}: {reason}") from None
        self.git("add", "--all", "--force", ".")


def refuse_changes() -> None:
    """Refuse where an update could not be told from other changes, and be undone."""
    status = run("git", "status", "--porcelain", "--untracked-files=normal", ".")
    if ANSWERS in status or re.search(r"^(U.|.U|AA|DD) |\.rej$", status, re.MULTILINE):
        raise Problem(f"An update is not committed yet. Commit it, or undo it: {UNDO}.")
    if status:
        raise Problem(f"Commit or stash your changes first, so that you can undo it:\n{status}")


def keep_answers(clone: Clone, lost: dict[str, str]) -> None:
    """Write answers back that the new version does not ask for, so that no update forgets them."""
    with (clone.folder / ANSWERS).open("a", encoding="utf-8") as file:
        for name, answer in lost.items():
            file.write(f"{name}: {answer}\n")
            print(f"{name}: {answer} stays in {ANSWERS}, without effect: nothing asks for it now.")
    clone.git("add", ANSWERS)


def keep_files(clone: Clone) -> None:
    """Put back what Copier cannot merge, or what is the person's own, and say so."""
    removed, merged = clone.changed("--diff-filter=D"), clone.changed("--diff-filter=MT")
    ignored = clone.git("ls-files", "-z", "--cached", "--ignored", "--exclude-standard").split("\0")
    kept = dict.fromkeys(merged.intersection(ignored), "git ignores it")
    binary = {path for path in merged if NO_TEXT.search(clone.git("show", f"HEAD:./{path}"))}
    kept |= dict.fromkeys(binary, "it is not UTF-8 text")
    conflicts = clone.changed(MARKERS) - kept.keys()
    if removed or conflicts or "120000 blob" in clone.git("ls-tree", "-r", "HEAD", "."):
        rendered = Clone(clone.parent / "rendered")
        rendered.copier(*RECOPY)
        edited, links = rendered.changed("--diff-filter=MT"), rendered.changed("--diff-filter=T")
        kept |= dict.fromkeys(links | clone.changed("--diff-filter=T"), "it is a link")
        kept |= dict.fromkeys(removed & edited, "you have changed it, and the template dropped it")
        kept |= dict.fromkeys(conflicts - edited, "you added it; the template now has one too")
    for path, reason in sorted(kept.items()):
        clone.git("checkout", "HEAD", "--", f":(literal){path}")
        print(f"{path} stays as it is, because {reason}.")


def undo(changed: set[str], added: set[str], error: str) -> str:
    """Bring the last commit's files back after half an update, and say whether that was possible."""
    try:
        lock = run("git", "rev-parse", "--git-path", "index.lock").strip()
        was_killed = " ended with -" in error  # Such a git leaves its lock behind.
        for path in [*added, *[lock] * was_killed]:
            Path(path).unlink(missing_ok=True)
        run("git", "reset", "--quiet", "--", ".")
        run("git", "restore", "--", *sorted(changed - added))
        if not run("git", "status", "--porcelain", "."):
            return "Nothing is changed."
    except (Problem, OSError):
        pass
    return f"A part of the update is in your files. Undo it: {UNDO}. The cause:"


def place(clone: Clone) -> None:
    """Apply to the project what has changed in the clone, whole or not at all."""
    changed, added = clone.changed(), clone.changed("--diff-filter=A")
    if in_the_way := sorted(filter(os.path.lexists, added)):
        raise Problem(f"Move these away, because the template brings them: {' '.join(in_the_way)}")
    flagged = re.findall(r"(?:^|\0)[Sa-z] ([^\0]+)", run("git", "ls-files", "-vz"))
    if hidden := sorted(filter(os.path.lexists, changed.intersection(flagged))):
        show = "`git update-index --no-skip-worktree --no-assume-unchanged"
        raise Problem(
            f"Git hides edits of these: {show} {' '.join(hidden)}`, and commit the edits."
        )
    try:
        patch = clone.git("diff", "--cached", "--binary", "--no-renames")
        run("git", "apply", "--index", given=patch, cwd=clone.top, env=clone.environment)
    except (Problem, KeyboardInterrupt) as error:
        raise Problem(f"{undo(changed, added, str(error))} {error}") from error


def update(clone: Clone, args: argparse.Namespace) -> None:
    """Update a clone and, unless this is a check, bring what has changed there into the project."""
    if not args.check:
        refuse_changes()
    clone.copier("update", "--defaults", *[f"--data={change}" for change in args.data])
    was, now = clone.answers("HEAD"), clone.answers()
    if unknown := {change.partition("=")[0] for change in args.data} - now.keys():
        raise Problem(f"The template does not ask for {', '.join(unknown)}; see {ANSWERS}.")
    keep_answers(clone, {name: was[name] for name in sorted(was.keys() - now)})
    keep_files(clone)
    if not clone.changed():
        print(f"Nothing to do: {was['_commit']} is the newest version of the template.")
        return
    if not args.check:
        place(clone)
    print("Template", " -> ".join(dict.fromkeys([was["_commit"], now["_commit"]])))
    print("from", bare(now["_src_path"]))
    last_update = run("git", "log", "-1", "--format=%H", "-G^_commit: ", "--", ANSWERS).strip()
    if (before := clone.answers(last_update)["_src_path"]) != now["_src_path"]:
        print("The last update came from another address:", bare(before))
    print(bare(clone.diff("--stat", "--summary", *["--patch"] * args.check)))
    if conflicts := sorted(clone.changed(MARKERS) | clone.changed("--", "*.rej")):
        print("You and the template have changed the same lines in:", *conflicts)
    steps = "edit the files above, `git add` them, then: " if conflicts else ""
    later = "Nothing is written yet: `make update` does it."
    print(later if args.check else NEXT.format(steps=steps, version=now["_commit"]))
    sys.exit(3 if conflicts else 0)


def show_drift(clone: Clone, _: argparse.Namespace) -> None:
    """Show how the template's files differ from what their version of the template makes."""
    clone.copier(*RECOPY)
    if drift := clone.diff("-R", "--stat", "--patch", "--diff-filter=MT"):
        print("Lines with + are yours, lines with - are the template's.")
    print(bare(drift) or "The template's files are as the template makes them.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="show an update, and write nothing")
    only.add_argument("--drift", action="store_true", help="show edits of the template's files")
    parser.add_argument(
        "--data", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="new answers"
    )
    args = parser.parse_args()
    if wrong := [word for word in args.data if not re.match(r"[a-z]\w*=", word)]:
        parser.error(f"{wrong[0]} is not KEY=VALUE (with make: DATA=\"'KEY=SOME VALUE'\")")
    os.chdir(Path(__file__).resolve().parent.parent)
    os.environ["LANGUAGE"] = "en"  # Two of git's sentences are recognised below.
    # A diff may show bytes that are no UTF-8.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            action = show_drift if args.drift else update
            action(Clone(Path(folder, "project")), args)
    except Problem as problem:
        sys.exit(bare(str(problem)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
