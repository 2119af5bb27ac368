"""Real commits in which outputs stay in the files (notebook_outputs: keep-local)."""

import sys

import pytest

from tests.hooks.notebook_project import Project, as_jupyter, code, notebook

BARE = {"outputs": [], "execution_count": None}


def cells(*edits: str) -> list[dict]:
    """Four executed cells; an edit `1:text` changes the source and the outputs of cell 1."""
    found = [code(id=f"cell-{number}", source=[f"{number}\n"] * 4) for number in range(4)]
    for edit in edits:
        number, text = edit.split(":")
        stream = {"name": "stdout", "output_type": "stream", "text": [text]}
        found[int(number)] |= {"source": [f"{text}\n"] * 4, "outputs": [stream]}
    return found


def executed(*edits: str) -> bytes:
    return as_jupyter(notebook(*cells(*edits)))


def clean(*edits: str) -> bytes:
    return as_jupyter(notebook(*(cell | BARE for cell in cells(*edits))))


@pytest.fixture
def local(project) -> Project:
    """A repository with a committed notebook, executed since, and the hook as git's own."""
    hook = project.folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nexec "{sys.executable}" tools/nbclean.py --staged\n')
    hook.chmod(0o755)
    project.write("n.ipynb", clean())
    project.write("f.txt", b"one\n")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    project.git("branch", "theirs")
    project.write("n.ipynb", executed("0:mine"))
    return project


def commit(project: Project, *arguments: str, code: int = 0) -> None:
    project.git("commit", "--quiet", "--message", "Mine", *arguments, code=code)


def in_commit(project: Project, revision: str = "HEAD") -> bytes:
    return project.git("show", f"{revision}:n.ipynb").encode()


def on_screen(project: Project) -> bytes:
    return (project.folder / "n.ipynb").read_bytes()


@pytest.mark.parametrize("how", [["--all"], ["n.ipynb"], ["--include", "n.ipynb"]])
def test_one_commit_is_enough_and_the_outputs_stay_on_screen(local, how):
    commit(local, *how)
    assert in_commit(local) == clean("0:mine")
    assert on_screen(local) == executed("0:mine")
    assert local.git("status", "--short") in (" M n.ipynb\n", "M  n.ipynb\n")


def test_a_path_that_is_still_staged_with_outputs_is_cleaned_by_the_next_commit(local):
    commit(local, "n.ipynb")
    local.write("f.txt", b"two\n")
    local.git("add", "f.txt")
    commit(local)
    assert in_commit(local) == in_commit(local, "") == clean("0:mine")
    assert on_screen(local) == executed("0:mine")


def test_partial_staging_commits_what_was_staged(local):
    local.git("add", "n.ipynb")
    local.write("n.ipynb", executed("0:mine", "1:later"))
    commit(local)
    assert in_commit(local) == clean("0:mine")
    assert on_screen(local) == executed("0:mine", "1:later")


def test_a_commit_of_outputs_alone_is_refused_and_not_empty(local):
    commit(local, "--all")
    before = local.git("rev-parse", "HEAD")
    local.write("n.ipynb", executed("0:mine"))
    commit(local, "--all", code=1)
    assert local.git("rev-parse", "HEAD") == before
    assert on_screen(local) == executed("0:mine")


def test_another_file_is_committed_beside_a_notebook_that_was_only_run(local):
    commit(local, "--all")
    local.write("f.txt", b"two\n")
    commit(local, "--all")
    assert local.git("show", "--format=", "--name-only") == "f.txt\n"
    assert on_screen(local) == executed("0:mine")


def test_amend_keeps_outputs_out_and_on_screen(local):
    commit(local, "--all")
    local.write("n.ipynb", executed("0:mine", "1:more"))
    local.git("add", "--all")
    commit(local, "--amend")
    assert in_commit(local) == clean("0:mine", "1:more")
    assert on_screen(local) == executed("0:mine", "1:more")


def test_a_new_a_renamed_and_a_deleted_notebook(local):
    commit(local, "--all")
    local.write("with space é.ipynb", executed("1:new"))
    local.git("mv", "--", "n.ipynb", "-moved.ipynb")
    local.git("add", "--all")
    commit(local)
    assert local.git("show", "HEAD:with space é.ipynb").encode() == clean("1:new")
    assert local.git("show", "HEAD:-moved.ipynb").encode() == clean("0:mine")
    local.git("rm", "--quiet", "--force", "--", "-moved.ipynb")
    commit(local)


def test_the_mode_of_the_file_stays_and_a_link_is_no_notebook(local):
    (local.folder / "n.ipynb").chmod(0o755)
    (local.folder / "link.ipynb").symlink_to("n.ipynb")
    local.git("add", "--all")
    commit(local)
    modes = local.git("ls-tree", "HEAD", "n.ipynb", "link.ipynb").split()
    assert modes[0] == "120000"
    assert "100755" in modes


def test_a_damaged_notebook_stops_the_commit_and_stays_as_it_is(local):
    bad = local.write("bad.ipynb", b"{")
    local.git("add", "--all")
    commit(local, code=1)
    assert bad.read_bytes() == b"{"
    assert in_commit(local, "") == clean("0:mine"), "the other notebook is handled"


def test_git_refuses_or_keeps_the_outputs_whatever_it_does(local):
    """Switch, merge, rebase, cherry-pick and pull, with a notebook that has outputs on screen."""
    commit(local, "--all")
    local.git("stash", "--quiet")
    local.git("switch", "--quiet", "theirs")
    local.write("n.ipynb", clean("3:theirs"))
    commit(local, "--all")
    local.git("switch", "--quiet", "main")
    local.git("stash", "pop", "--quiet")
    assert on_screen(local) == executed("0:mine")
    for command in (
        "switch theirs",
        "merge theirs",
        "rebase theirs",
        "cherry-pick theirs",
        "pull --no-rebase . theirs",
        "pull --rebase . theirs",
        "revert --no-edit HEAD",
    ):
        local.git(*command.split(), code=None)
        assert on_screen(local) == executed("0:mine"), command
        assert in_commit(local) == clean("0:mine"), command


def test_a_cleaned_notebook_can_be_merged_and_gets_its_outputs_back(local):
    commit(local, "--all")
    assert local.nbclean("n.ipynb").returncode == 1
    assert local.git("status", "--short") == ""
    local.git("switch", "--quiet", "theirs")
    local.write("n.ipynb", clean("3:theirs"))
    commit(local, "--all")
    local.git("switch", "--quiet", "main")
    local.git("merge", "--quiet", "--no-edit", "theirs")
    assert on_screen(local) == clean("0:mine", "3:theirs")
    assert local.nbclean("--restore").returncode == 0
    last = cells("0:mine", "3:theirs")[3] | BARE
    assert on_screen(local) == as_jupyter(notebook(*cells("0:mine")[:3], last))


def test_autostash_carries_the_outputs_over_a_rebase(local):
    commit(local, "--all")
    local.git("stash", "--quiet")
    local.git("switch", "--quiet", "theirs")
    local.write("f.txt", b"theirs\n")
    commit(local, "--all")
    local.git("switch", "--quiet", "main")
    local.git("stash", "pop", "--quiet")
    local.git("rebase", "--quiet", "--autostash", "theirs")
    assert in_commit(local) == clean("0:mine")
    assert on_screen(local) == executed("0:mine")


def test_a_merge_commit_is_never_called_empty(local):
    commit(local, "--all")
    local.git("switch", "--quiet", "--force", "theirs")
    local.write("n.ipynb", clean("0:other"))
    commit(local, "--all")
    local.git("switch", "--quiet", "main")
    local.git("merge", "--quiet", "theirs", code=1)
    local.write("n.ipynb", executed("0:mine"))
    local.git("add", "n.ipynb")
    commit(local)
    assert in_commit(local) == clean("0:mine")
    assert on_screen(local) == executed("0:mine")


def test_a_worktree_is_handled_like_the_first_one(local, tmp_path):
    commit(local, "--all")
    local.git("worktree", "add", "--quiet", "../other", "theirs")
    other = Project(tmp_path / "other")
    other.write("n.ipynb", executed("2:there"))
    commit(other, "--all")
    assert in_commit(other) == clean("2:there")
    assert on_screen(other) == executed("2:there")
