"""Real commits in a generated project whose outputs stay on screen (notebook_outputs: keep-local)."""

import json

import pytest

from tests.hooks.generated_repository import Repository, failed_hooks, managers, outputs
from tests.hooks.notebook_project import as_jupyter, code, notebook
from tests.support import BIN, NOTEBOOK, run

ONLY_OUTPUTS = "Only outputs have changed: there is nothing to commit."


@pytest.fixture(scope="module", params=managers("keep-local"))
def hooks(request) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def with_branches(prepared, tmp_path_factory) -> Repository:
    """Mine is committed and on screen with its outputs.

    The branch `theirs` has changed the same notebook elsewhere, `others` another file only, and
    `against` the same place of the same notebook.
    """
    mine = prepared.copy(tmp_path_factory.mktemp("branches") / "project")
    for branch, name, content in (
        ("theirs", NOTEBOOK, as_jupyter(mine.executed("theirs"))),
        ("against", NOTEBOOK, as_jupyter(mine.executed(first="against"))),
        ("others", "notes.md", b"# Notes\n"),
    ):
        mine.git("switch", "--quiet", "--create", branch, "main")
        mine.write(name, content)
        mine.git("add", name)
        mine.commit()
        mine.git("checkout", "--quiet", "--", ".")
    mine.git("switch", "--quiet", "main")
    mine.write(NOTEBOOK, mine.executed(first="mine"))
    mine.commit("--all")
    return mine


@pytest.fixture
def branches(with_branches, tmp_path) -> Repository:
    return with_branches.copy(tmp_path / "project")


def ids(notebook: dict) -> list[str]:
    return [cell["id"] for cell in notebook["cells"]]


def assert_on_screen(repository, executed: dict) -> None:
    """The file is as it was, byte by byte, and no commit of any branch holds an output."""
    assert (repository.folder / NOTEBOOK).read_bytes() == as_jupyter(executed)
    assert not repository.commits_with_outputs()


# --- to commit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["--all"], [NOTEBOOK], ["--include", NOTEBOOK]], ids=" ".join)
def test_one_commit_is_enough_and_the_outputs_stay_on_screen(repository, how):
    executed = repository.executed("mine")
    repository.write(NOTEBOOK, executed)
    repository.commit(*how)
    assert ids(repository.in_commit()) == ids(executed)
    assert_on_screen(repository, executed)


def test_a_commit_of_outputs_alone_is_refused(branches):
    head = branches.head()
    assert ONLY_OUTPUTS in branches.commit("--all", fails=True)
    assert branches.head() == head
    assert_on_screen(branches, branches.executed(first="mine"))


def test_what_was_staged_is_committed_and_what_was_run_since_stays_on_screen(repository):
    repository.write(NOTEBOOK, repository.executed("staged"))
    repository.git("add", NOTEBOOK)
    later = repository.executed("staged", "later")
    for cell in outputs(later):
        cell["execution_count"] += 10
    repository.write(NOTEBOOK, later)
    repository.commit()
    assert ids(repository.in_commit())[-1] == "staged"
    assert_on_screen(repository, later)


def test_another_file_is_committed_beside_outputs_on_screen(repository):
    executed = repository.executed("mine")
    repository.write(NOTEBOOK, executed)
    repository.write("notes.md", b"# Notes\n")
    repository.git("add", "notes.md")
    repository.commit()
    assert repository.git("show", "--format=", "--name-only").split() == ["notes.md"]
    assert_on_screen(repository, executed)


def test_amend_keeps_outputs_out_of_the_commit_and_on_screen(branches):
    executed = branches.executed("more", first="mine")
    branches.write(NOTEBOOK, executed)
    branches.commit("--all", "--amend")
    assert ids(branches.in_commit()) == ids(executed)
    assert_on_screen(branches, executed)


def test_a_new_a_renamed_and_a_deleted_notebook_are_committed(branches):
    branches.write("-new é.ipynb", branches.executed("new"))
    branches.git("mv", NOTEBOOK, "LOUD.IPYNB")
    branches.git("add", "--all")
    branches.commit()
    assert not outputs(branches.in_commit("-new é.ipynb"))
    assert not outputs(branches.in_commit("LOUD.IPYNB"))
    assert branches.on_screen("-new é.ipynb") == branches.executed("new")
    assert branches.on_screen("LOUD.IPYNB") == branches.executed(first="mine")
    branches.git("rm", "--quiet", "--force", "LOUD.IPYNB")
    branches.commit()
    assert "LOUD" not in branches.git("ls-tree", "-r", "--name-only", "HEAD")


def test_a_damaged_notebook_stops_the_commit_and_nothing_is_lost(repository):
    executed = repository.executed("mine")
    repository.write(NOTEBOOK, executed)
    damaged = repository.write("notebooks/bad.ipynb", as_jupyter(executed)[:-9] + b"\n")
    before, head = damaged.read_bytes(), repository.head()
    repository.git("add", "--all")
    printed = repository.commit(fails=True)
    assert "notebooks/bad.ipynb: left as it is: not JSON at line" in printed
    assert repository.head() == head
    assert damaged.read_bytes() == before
    repository.git("rm", "--quiet", "--cached", "notebooks/bad.ipynb")
    repository.commit()
    assert_on_screen(repository, executed)


def test_code_that_ruff_would_change_is_refused_and_make_lint_repairs_it(repository):
    ran = notebook(
        code(source=["x=1\n", "print(x)"]), metadata={"language_info": {"name": "python"}}
    )
    path = repository.write("a.ipynb", ran)
    repository.git("add", "a.ipynb")
    assert "ruff-format" in failed_hooks(repository.commit(fails=True))
    assert path.read_bytes() == as_jupyter(ran)

    assert failed_hooks(repository.lint(fails=True)) == {"ruff-format"}
    repository.git("add", "a.ipynb")
    repository.commit()
    (shown,) = repository.on_screen("a.ipynb")["cells"]
    assert (shown["source"], shown["outputs"]) == (["x = 1\n", "print(x)"], code()["outputs"])
    assert not repository.commits_with_outputs()


def test_a_picture_on_screen_is_no_secret(branches):
    assert "image/png" in json.dumps(branches.on_screen())
    branches.lint()
    assert_on_screen(branches, branches.executed(first="mine"))


def test_a_commit_from_a_program_that_knows_no_environment_keeps_the_outputs(
    repository, bare_environment
):
    executed = repository.executed("from an editor")
    repository.write(NOTEBOOK, executed)
    repository.commit("--all", env=bare_environment)
    assert_on_screen(repository, executed)


def test_a_worktree_keeps_its_outputs_on_screen(branches, tmp_path):
    branches.git("worktree", "add", "--quiet", str(tmp_path / "side"), "theirs")
    side = branches.at(tmp_path / "side")
    side.write(NOTEBOOK, side.executed("theirs", "there"))
    side.commit("--all")
    assert_on_screen(side, side.executed("theirs", "there"))


# --- what else git does ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "switch",
        "checkout",
        "merge --no-edit",
        "rebase",
        "cherry-pick",
        "pull --no-rebase --no-edit .",
        "pull --rebase .",
        "revert --no-edit",
    ],
)
def test_git_refuses_or_keeps_the_outputs(branches, command):
    executed = branches.executed(first="mine")
    for branch in "theirs", "against", "others":
        branches.git(*command.split(), branch, code=None)
        assert_on_screen(branches, executed)
        branches.git("switch", "--quiet", "main", code=None)
        assert branches.git("branch", "--show-current") == "main\n"
        assert_on_screen(branches, executed)


def test_stash_and_pop_keep_the_outputs(branches):
    branches.git("stash", "--quiet")
    assert not outputs(branches.on_screen())
    branches.git("switch", "--quiet", "theirs")
    branches.git("switch", "--quiet", "main")
    branches.git("stash", "pop", "--quiet")
    assert_on_screen(branches, branches.executed(first="mine"))


@pytest.mark.parametrize(
    "command",
    [
        "merge --quiet --no-edit --autostash theirs",
        "rebase --quiet --autostash theirs",
        "pull --quiet --no-rebase --no-edit --autostash . theirs",
        "pull --quiet --rebase --autostash . theirs",
    ],
)
def test_autostash_brings_the_work_of_others_under_the_outputs(branches, command):
    branches.git(*command.split())
    assert ids(branches.in_commit())[0] == "mine"
    assert ids(branches.in_commit())[-1] == "theirs"
    assert_on_screen(branches, branches.executed("theirs", first="mine"))


def test_a_merge_that_needs_a_hand_is_committed_without_outputs(branches):
    branches.git("stash", "--quiet")
    branches.git("merge", "--quiet", "--no-edit", "against", code=1)
    executed = branches.executed(first="both")
    branches.write(NOTEBOOK, executed)
    branches.commit("--all")
    assert len(branches.git("rev-list", "--parents", "--max-count=1", "HEAD").split()) == 3
    assert ids(branches.in_commit())[0] == "both"
    assert_on_screen(branches, executed)


def test_a_rebase_that_needs_a_hand_is_finished_without_outputs(branches):
    branches.git("stash", "--quiet")
    branches.git("rebase", "--quiet", "against", code=1)
    executed = branches.executed(first="both")
    branches.write(NOTEBOOK, executed)
    branches.commit("--all")
    branches.git("stash", "drop", "--quiet")
    branches.git("-c", "core.editor=true", "rebase", "--continue", code=None)
    assert ids(branches.in_commit())[0] == "both"
    assert_on_screen(branches, executed)


def test_make_lint_finds_outputs_that_came_around_the_hook(repository):
    repository.write(NOTEBOOK, repository.executed("careless"))
    repository.commit("--all", "--no-verify")
    assert f"{NOTEBOOK}: cleaned" in repository.lint(fails=True)
    repository.commit("--all")
    assert not outputs(repository.in_commit())
    repository.make("outputs")
    assert ids({"cells": outputs(repository.on_screen())}) == ids(
        {"cells": outputs(repository.executed())}
    )


# --- to install the hooks ----------------------------------------------------------------------


def test_setup_again_changes_no_hook(repository):
    folder = repository.folder / ".git" / "hooks"
    repository.make("hooks")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert str(repository.folder / ".venv") in before["pre-commit.legacy"]
    repository.make("hooks")
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_the_answer_strip_takes_the_staged_hook_away(branches, template):
    legacy = branches.folder / ".git/hooks/pre-commit.legacy"
    branches.make("hooks")
    assert legacy.exists()
    branches.git("stash", "--quiet")
    answer = "--data", "notebook_outputs=strip"
    run(BIN / "copier", "update", "--defaults", "--quiet", *answer, cwd=branches.folder)
    branches.make("hooks")
    assert not legacy.exists()
    branches.commit("--all")
    branches.git("stash", "pop", "--quiet")
    branches.write(NOTEBOOK, branches.executed("stripped", first="mine"))
    assert f"{NOTEBOOK}: cleaned" in branches.commit("--all", fails=True)
    assert not outputs(branches.on_screen())


def test_a_hook_that_was_there_before_is_never_overwritten(repository):
    hook = repository.folder / ".git/hooks/pre-commit"
    hook.unlink()
    hook.with_suffix(".legacy").unlink()
    own = "#!/bin/sh\necho run >> .git/own\n"
    hook.write_text(own)
    hook.chmod(0o755)
    advice = repository.install()
    legacy = hook.with_suffix(".legacy")
    assert legacy.read_text() == own
    (line,) = (line for line in advice.splitlines() if line.startswith("Add to your own hook"))

    own += line.split(": ", 1)[1] + "\necho done >> .git/own\n"
    legacy.write_text(own)
    assert "Add to" not in repository.make("hooks")
    assert legacy.read_text() == own
    executed = repository.executed("mine")
    repository.write(NOTEBOOK, executed)
    repository.commit("--all")
    assert_on_screen(repository, executed)
    assert (repository.folder / ".git/own").read_text() == "run\ndone\n"


def test_make_setup_says_in_one_sentence_that_git_looks_for_hooks_elsewhere(repository):
    repository.git("config", "core.hooksPath", ".githooks")
    (sentence,) = repository.make("hooks").splitlines()
    assert "core.hooksPath" in sentence
    assert not (repository.folder / ".githooks").exists()

    command = sentence.split("'")[1]
    if repository.manager == "prek":
        command = command.replace(".venv/bin/pre-commit run", f"{BIN}/prek run")
    own = repository.write(".githooks/pre-commit", f"#!/bin/sh\n{command}\n".encode())
    own.chmod(0o755)
    executed = repository.executed("mine")
    repository.write(NOTEBOOK, executed)
    repository.commit("--all")
    assert_on_screen(repository, executed)
