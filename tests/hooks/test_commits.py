"""Real commits in a generated project whose notebooks are cleaned."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.hooks import leaks
from tests.hooks.generated_repository import failed_hooks, managers, outputs, text_cell
from tests.hooks.notebook_project import as_jupyter, code, notebook
from tests.support import BIN, NOTEBOOK, run

KEY = "-----BEGIN {} KEY-----\nMIIBOgIBAAJBAKj34GkxFhD9\n-----END {} KEY-----\n".replace(
    "{}", "PRIVATE"
)
AWS = "AKIA" + "IOSFODNN7ABCDEFG"
SLACK = "https://hooks.slack.com/services/T01234567/" + "B01234567/" + "abcdefgh" * 3
IMAGE = "image/png"


@pytest.fixture(scope="module", params=managers())
def hooks(request) -> str:
    return request.param


def kept(texts: list[dict]) -> list:
    return [(cell["cell_type"], cell["id"], cell["source"]) for cell in texts]


# --- the way of one notebook -------------------------------------------------------------------


def test_an_executed_notebook_is_cleaned_added_and_committed(repository):
    executed = repository.executed("See also the README.")
    repository.write(NOTEBOOK, executed)
    before = repository.head()

    printed = repository.commit("--all", fails=True)
    assert f"{NOTEBOOK}: cleaned" in printed
    assert "Stage what was cleaned, then repeat your commit." in printed
    assert failed_hooks(printed) == {"nbclean"}
    assert repository.head() == before
    assert outputs(executed) and not outputs(repository.on_screen())
    assert repository.copies(NOTEBOOK) == [as_jupyter(executed)]

    repository.git("add", "--update")
    repository.commit()
    assert repository.status() == ""
    committed = repository.in_commit()
    assert not outputs(committed)
    assert kept(committed["cells"]) == kept(executed["cells"])


def test_make_outputs_brings_the_outputs_back_after_the_commit(repository):
    executed = repository.executed("One more cell.")
    repository.write(NOTEBOOK, executed)
    repository.commit("--all", fails=True)
    repository.commit("--all")
    assert f"{NOTEBOOK}: outputs are back" in repository.make("outputs")
    for shown, ran in zip(repository.on_screen()["cells"], executed["cells"], strict=True):
        assert shown.get("outputs") == ran.get("outputs")
        assert shown.get("execution_count") == ran.get("execution_count")

    assert "Stage what was cleaned" in repository.commit("--all", fails=True), "cleaned again"
    repository.commit("--all", fails=True)
    assert repository.status() == "", "nothing is left to commit"


def test_what_was_edited_after_staging_stays_in_the_file(repository):
    repository.write(NOTEBOOK, repository.executed("staged"))
    repository.git("add", NOTEBOOK)
    repository.write(NOTEBOOK, repository.executed("staged", "later"))
    before = repository.head()
    repository.commit(fails=True)
    assert repository.head() == before
    assert not outputs(repository.on_screen())
    assert kept(repository.on_screen()["cells"]) == kept(
        repository.executed("staged", "later")["cells"]
    )
    assert repository.copies(NOTEBOOK) == [as_jupyter(repository.executed("staged"))]


def test_a_staged_notebook_that_was_run_since_is_refused(repository):
    """The hook program takes back what the hook has done, because it does not fit the new outputs."""
    repository.write(NOTEBOOK, repository.executed("staged"))
    repository.git("add", NOTEBOOK)
    again = repository.executed("staged")
    for cell in outputs(again):
        cell["execution_count"] += 10
    path = repository.write(NOTEBOOK, again)
    before = repository.head()
    repository.commit(fails=True)
    assert repository.head() == before
    assert path.read_bytes() == as_jupyter(again)

    repository.commit("--all", fails=True)
    assert as_jupyter(again) in repository.copies(NOTEBOOK)
    repository.commit("--all")
    assert not repository.commits_with_outputs()


def test_outputs_that_are_not_staged_stay_on_screen(repository):
    repository.write(NOTEBOOK, repository.executed("not staged"))
    repository.write("notes.md", b"# Notes\n")
    repository.git("add", "notes.md")
    repository.commit()
    assert repository.git("show", "--format=", "--name-only").split() == ["notes.md"]
    assert repository.on_screen() == repository.executed("not staged")


def test_a_notebook_staged_clean_and_run_since_is_committed(repository):
    repository.write(NOTEBOOK, repository.executed("clean"))
    repository.commit("--all", fails=True)
    repository.git("add", NOTEBOOK)
    repository.write(NOTEBOOK, repository.executed("clean"))
    repository.commit()
    assert kept(repository.in_commit()["cells"])[-1][1] == "clean"
    assert not outputs(repository.in_commit())
    assert repository.on_screen() == repository.executed("clean")


# --- several notebooks -------------------------------------------------------------------------


def test_a_deleted_and_a_renamed_notebook_are_committed(repository):
    repository.git("mv", NOTEBOOK, "notebooks/renamed.ipynb")
    repository.commit()
    executed = repository.executed("renamed and run")
    repository.write("notebooks/renamed.ipynb", executed)
    repository.git("mv", "notebooks/renamed.ipynb", "again.ipynb")
    repository.git("add", "--all")
    repository.commit(fails=True)
    repository.git("add", "--update")
    repository.commit()
    assert not outputs(repository.in_commit("again.ipynb"))
    repository.git("rm", "--quiet", "again.ipynb")
    repository.commit()
    assert ".ipynb" not in repository.git("ls-tree", "-r", "--name-only", "HEAD")


def test_thirty_notebooks_are_cleaned_by_one_commit(repository):
    names = [f"notebooks/{number}.ipynb" for number in range(30)]
    for name in names:
        repository.write(name, repository.executed(name))
    repository.git("add", "--all")
    printed = repository.commit(fails=True)
    assert [name for name in names if f"{name}: cleaned" not in printed] == []
    repository.git("add", "--update")
    repository.commit()
    assert not repository.commits_with_outputs()
    assert repository.in_commit(names[-1])["cells"][-1]["source"] == [names[-1]]


def test_a_damaged_notebook_stops_the_commit(repository):
    repository.write("notebooks/a.ipynb", repository.executed())
    damaged = repository.write("notebooks/b.ipynb", as_jupyter(repository.executed())[:-9] + b"\n")
    repository.write("notebooks/c.ipynb", repository.executed())
    before = damaged.read_bytes()
    repository.git("add", "--all")
    printed = repository.commit(fails=True)
    assert "notebooks/b.ipynb: left as it is: it cannot be read as JSON: " in printed
    assert damaged.read_bytes() == before
    assert not outputs(repository.on_screen("notebooks/a.ipynb"))
    assert not outputs(repository.on_screen("notebooks/c.ipynb"))

    repository.git("rm", "--quiet", "--cached", "notebooks/b.ipynb")
    repository.git("add", "--update")
    repository.commit()
    assert damaged.read_bytes() == before


def test_unusual_names_are_cleaned_and_committed(repository):
    names = ["two words.ipynb", "наука é 数.ipynb", "-dash.ipynb", "LOUD.IPYNB", "Mixed.IpYnB"]
    for name in names:
        repository.write(name, repository.executed(name))
    repository.git("add", "--all")
    assert failed_hooks(repository.commit(fails=True)) == {"nbclean"}
    repository.git("add", "--update")
    repository.commit()
    assert repository.status() == ""
    for name in names:
        committed = repository.in_commit(name)
        assert not outputs(committed)
        assert kept(committed["cells"]) == kept(repository.executed(name)["cells"])


def test_checkpoints_of_jupyter_are_neither_added_nor_cleaned(repository):
    name = "notebooks/.ipynb_checkpoints/quickstart-checkpoint.ipynb"
    repository.write(name, repository.executed())
    repository.git("add", "--all")
    assert repository.status() == ""
    repository.git("add", "--force", name)
    repository.commit()
    assert repository.on_screen(name) == repository.executed()


def test_cells_that_two_people_inserted_merge_without_a_conflict(repository, tmp_path):
    other = repository.copy(tmp_path / "other")
    repository.write(NOTEBOOK, repository.executed(first="mine"))
    other.write(NOTEBOOK, other.executed("theirs"))
    for person in repository, other:
        person.commit("--all", fails=True)
        person.commit("--all")
    repository.git("pull", "--quiet", "--no-rebase", "--no-edit", str(other.folder), "main")
    ids = [cell["id"] for cell in repository.in_commit()["cells"]]
    assert (ids[0], ids[-1]) == ("mine", "theirs")
    repository.lint()


# --- where a commit comes from -----------------------------------------------------------------


def test_a_commit_from_a_graphical_program_is_cleaned(repository, bare_environment):
    repository.write(NOTEBOOK, repository.executed("from an editor"))
    printed = repository.commit("--all", fails=True, env=bare_environment)
    assert f"{NOTEBOOK}: cleaned" in printed
    repository.commit("--all", env=bare_environment)
    assert not outputs(repository.in_commit())


def test_a_commit_in_a_subfolder_is_cleaned(repository):
    folder = repository.folder / "notebooks"
    repository.write(NOTEBOOK, repository.executed("from below"))
    printed = repository.commit("--all", fails=True, cwd=folder)
    assert "Stage what was cleaned, then repeat your commit." in printed
    repository.commit("--all", cwd=folder)
    assert not outputs(repository.in_commit())


def test_a_worktree_has_the_hooks_of_the_repository(repository, tmp_path):
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    side = repository.at(tmp_path / "side")
    side.write(NOTEBOOK, side.executed("before setup"))
    side.commit("--all", fails=True)
    side.commit("--all")
    side.enter()
    side.install("--force")
    side.write(NOTEBOOK, side.executed("before setup", "after setup"))
    side.commit("--all", fails=True)
    assert len(side.copies(NOTEBOOK)) == 2
    side.commit("--all")
    assert not side.commits_with_outputs()


def test_a_submodule_can_have_hooks(repository, tmp_path):
    above = repository.at(tmp_path / "above")
    above.folder.mkdir()
    above.git("init", "--quiet")
    add = "submodule", "--quiet", "add", str(repository.folder), "project"
    above.git("-c", "protocol.file.allow=always", *add)
    below = repository.at(above.folder / "project")
    below.enter()
    below.install()
    below.write(NOTEBOOK, below.executed("in a submodule"))
    below.commit("--all", fails=True)
    below.commit("--all")
    assert not outputs(below.in_commit())
    assert below.copies(NOTEBOOK) == [as_jupyter(below.executed("in a submodule"))]


# --- the other hooks ---------------------------------------------------------------------------


def bare_notebook(*source: str) -> bytes:
    """A notebook of Python as ruff knows it: by its language."""
    cell = code(source=list(source), outputs=[]) | {"execution_count": None}
    return as_jupyter(notebook(cell, metadata={"language_info": {"name": "python"}}))


def test_what_does_not_belong_into_a_commit_is_refused(repository):
    refused = {
        "model.bin": ("large-files", b"\0" * (1024 * 1025)),
        "deploy.txt": ("secrets", KEY.encode()),
        "settings.py": ("secrets", f'KEY = "{AWS}"\n'.encode()),
        "secret.ipynb": ("secrets", bare_notebook(f'KEY = "{AWS}"')),
        "notes.md": ("merge-conflict", b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> b\n"),
        "Makefile.rej": ("rejected-changes", b"@@ -1 +1 @@\n-a\n+b\n"),
        "bad.yaml": ("yaml", b"a: [\n"),
        "bad.toml": ("toml", b"a = [\n"),
        "bad.json": ("json", b'{"a": 1,}\n'),
        "devcontainers.json": ("json", b"{} // a comment\n"),
        "bad.py": ("ruff-check", b"print(undefined)\n"),
        "undefined.ipynb": ("ruff-check", bare_notebook("print(undefined)")),
    }
    for name, (_, content) in refused.items():
        repository.write(name, content)
    head = repository.head()
    repository.git("add", "--all")
    printed = repository.commit(fails=True)
    assert failed_hooks(printed) == {hook for hook, _ in refused.values()}
    assert repository.head() == head
    for name, (hook, content) in refused.items():
        parts = printed.split(f"- hook id: {hook}\n")[1:]
        assert any(name in part.split("- hook id: ")[0] for part in parts), name
        assert (repository.folder / name).read_bytes() == content


def test_the_settings_of_an_editor_may_have_comments(repository):
    for name in (".vscode/settings.json", ".devcontainer/devcontainer.json", ".devcontainer.json"):
        repository.write(name, b"{} // a comment\n")
    repository.git("add", "--all", "--force")
    repository.commit()


def test_what_looks_like_a_secret_is_shown_to_nobody(repository):
    """Some programs ask the services whether they know what was found."""
    repository.write("settings.py", f'HOOK = "{SLACK}"\nKEY = "{AWS}"\n'.encode())
    repository.git("add", "--all")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = os.environ | {"HTTPS_PROXY": address, "HTTP_PROXY": address}
        printed = repository.commit(fails=True, env=environment, timeout=60)
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert failed_hooks(printed) == {"secrets"}
    assert "settings.py: line 1: " in printed
    assert "settings.py: line 2: " in printed
    assert "add the code in brackets to `allow`" in printed.lower()


def test_a_password_in_the_source_of_a_notebook_is_refused(repository):
    repository.write("a.ipynb", bare_notebook(f'password = "{leaks.PASSWORD}"'))
    repository.git("add", "a.ipynb")
    printed = repository.commit(fails=True)
    assert failed_hooks(printed) == {"secrets"}
    assert "a.ipynb: cell 1, line 1: " in printed


def test_a_notebook_that_runs_is_committed_whatever_lint_says(repository):
    source = "def collect(item, found=[]):\n", "    found.append(item)\n", "    return found"
    repository.write("a.ipynb", bare_notebook(*source))
    repository.git("add", "a.ipynb")
    printed = repository.commit()
    assert "a.ipynb:cell 1:1:25: B006" in printed
    repository.write("a.py", "".join(source).encode() + b"\n")
    repository.git("add", "a.py")
    assert failed_hooks(repository.commit(fails=True)) == {"ruff-check"}


@pytest.mark.parametrize("source", ["print(undefined)", "x = = 1"], ids=["name", "syntax"])
def test_a_notebook_that_cannot_run_is_refused(repository, source):
    repository.write("a.ipynb", bare_notebook(source))
    repository.git("add", "a.ipynb")
    assert "ruff-check" in failed_hooks(repository.commit(fails=True))


def test_a_file_that_grows_too_large_is_refused_too(repository):
    repository.write("model.bin", b"small\n")
    repository.git("add", "--all")
    repository.commit()
    repository.write("model.bin", b"\0" * (1024 * 1025))
    assert failed_hooks(repository.commit("--all", fails=True)) == {"large-files"}


def test_what_can_be_repaired_is_repaired_and_then_committed(repository):
    repaired = {
        "crlf.txt": ("line-endings", b"a\r\nb\r\n", b"a\nb\n"),
        "cut.txt": ("final-newline", b"a", b"a\n"),
        "blanks.txt": ("trailing-blanks", b"a \nb\n", b"a\nb\n"),
        "unused.py": ("ruff-check", b"import os\n", b""),
        "loose.py": ("ruff-format", b"x=1\n", b"x = 1\n"),
        "unused.ipynb": (
            "ruff-check",
            bare_notebook("import os\n", "x = 1"),
            bare_notebook("x = 1"),
        ),
        "loose.ipynb": ("ruff-format", bare_notebook("x=1"), bare_notebook("x = 1")),
    }
    for name, (_, before, _) in repaired.items():
        repository.write(name, before)
    repository.git("add", "--all")
    printed = repository.commit(fails=True)
    assert failed_hooks(printed) == {hook for hook, _, _ in repaired.values()}
    for name, (_, _, after) in repaired.items():
        assert (repository.folder / name).read_bytes() == after, name
    repository.git("add", "--update")
    repository.commit()
    for name, (_, _, after) in repaired.items():
        assert repository.git("show", f"HEAD:{name}").encode() == after


def test_a_picture_that_is_kept_in_a_notebook_is_no_secret(repository):
    executed = repository.executed()
    (plot,) = (cell for cell in executed["cells"] if IMAGE in json.dumps(cell.get("outputs")))
    plot["metadata"]["tags"] = ["keep_output"]
    repository.write(NOTEBOOK, executed)
    assert failed_hooks(repository.commit("--all", fails=True)) == {"nbclean"}
    repository.commit("--all")
    assert [cell["id"] for cell in outputs(repository.in_commit())] == [plot["id"]]
    repository.lint()


def test_an_output_of_a_secret_is_refused_where_outputs_are_kept(repository):
    secret = code(source=["print(key)"])
    secret["outputs"][0]["text"] = [f'key = "{AWS}"\n']
    secret["metadata"]["tags"] = ["keep_output"]
    repository.write("a.ipynb", notebook(text_cell("key"), secret))
    repository.git("add", "a.ipynb")
    assert "secrets" in failed_hooks(repository.commit(fails=True))


# --- outputs that came around the hook ---------------------------------------------------------


@pytest.mark.parametrize("way", ["commit", "cherry-pick", "merge --no-edit"])
def test_make_lint_finds_outputs_that_came_around_the_hook(repository, way):
    repository.git("switch", "--quiet", "--create", "theirs")
    repository.write(NOTEBOOK, repository.executed("careless"))
    repository.commit("--all", "--no-verify")
    if way != "commit":
        repository.git("switch", "--quiet", "main")
        repository.write("notes.md", b"# Notes\n")
        repository.git("add", "notes.md")
        repository.commit()
        repository.git(*way.split(), "theirs")
    assert outputs(repository.in_commit())
    printed = repository.lint(fails=True)
    assert f"{NOTEBOOK}: cleaned" in printed
    assert failed_hooks(printed) == {"nbclean"}
    repository.commit("--all")
    assert not outputs(repository.in_commit())
    repository.lint()


# --- to install the hooks ----------------------------------------------------------------------


def installed(repository) -> dict[str, str]:
    folder = repository.folder / ".git" / "hooks"
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".sample"}


def test_setup_can_run_twice(original, repository, hooks):
    before = installed(repository)
    assert "pre-commit" in before
    repository.hooks()
    assert installed(repository) == before, hooks
    first = installed(repository.at(original))
    run("make", "setup", cwd=original)
    assert installed(repository.at(original)) == first


def remove_hooks(repository) -> Path:
    """Be in the state of before the installation; return the path of git's hook."""
    folder = repository.folder / ".git" / "hooks"
    for name in installed(repository):
        (folder / name).unlink()
    return folder / "pre-commit"


def test_a_hook_that_was_there_before_keeps_running(repository):
    own = remove_hooks(repository)
    own.write_text("#!/bin/sh\necho run >> .git/own\n")
    own.chmod(0o755)
    repository.install()
    repository.hooks()
    repository.write(NOTEBOOK, repository.executed("mine"))
    repository.commit("--all", fails=True)
    repository.commit("--all")
    assert not outputs(repository.in_commit())
    assert (repository.folder / ".git" / "own").read_text() == "run\n" * 2
    assert own.with_suffix(".legacy").read_text() == "#!/bin/sh\necho run >> .git/own\n"


def test_a_folder_of_a_repository_gets_no_hooks_and_a_sentence(repository):
    remove_hooks(repository)
    folder = repository.folder / "part"
    folder.mkdir()
    shutil.copytree(repository.folder / "tools", folder / "tools")
    (folder / ".venv").symlink_to(repository.venv)
    (sentence,) = repository.at(folder).hooks().splitlines()
    assert sentence == "No hooks: they work only at the top of a git repository."
    assert installed(repository) == {}


def test_a_repository_that_git_refuses_gets_its_reason(repository):
    other_owner = os.environ | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    (sentence,) = repository.hooks(env=other_owner, fails=True).splitlines()
    assert sentence.startswith("git cannot use this repository. It says: fatal: detected dubious")
    assert "git config --global --add safe.directory" in sentence


def test_hooks_that_git_looks_for_elsewhere_get_a_sentence(repository):
    remove_hooks(repository)
    repository.git("config", "core.hooksPath", ".githooks")
    (sentence,) = repository.hooks().splitlines()
    assert "core.hooksPath" in sentence
    assert installed(repository) == {}
    assert not (repository.folder / ".githooks").exists()

    command = sentence.split("'")[1]
    program = command if repository.manager == "pre-commit" else f"{BIN}/prek run"
    own = repository.write(".githooks/pre-commit", f"#!/bin/sh\n{program}\n".encode())
    own.chmod(0o755)
    repository.write(NOTEBOOK, repository.executed("mine"))
    assert f"{NOTEBOOK}: cleaned" in repository.commit("--all", fails=True)
    repository.commit("--all")
    assert not outputs(repository.in_commit())
