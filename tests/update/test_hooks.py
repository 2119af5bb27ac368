"""What a bad update leaves behind reaches no commit."""

import pytest

from tests.support import commit_all, git, run

MARKERS = "<<<<<<< before updating\nmine\n=======\nits\n>>>>>>> after updating\n"


@pytest.fixture
def pre_commit(projects):
    return projects("minimal") / ".venv/bin/pre-commit"


@pytest.fixture
def project(projects, pre_commit, tmp_path):
    """A project with its hooks, to make commits in."""
    folder = tmp_path / "project"
    run("git", "clone", "--quiet", projects("minimal"), folder)
    (folder / ".venv").symlink_to(projects("minimal") / ".venv")
    run(pre_commit, "install", cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("path", "text", "hook"),
    [
        ("notes.md", f"# Notes\n\n{MARKERS}", "merge-conflict"),
        ("notes.txt", MARKERS.replace("\n", "\r\n"), "merge-conflict"),
        ("Makefile.rej", "@@ -1 +1 @@\n-a\n+b\n", "rejected-changes"),
    ],
)
def test_markers_and_rejected_changes_are_refused(project, pre_commit, path, text, hook):
    (project / path).write_text(text)
    git(project, "add", ".")
    refused = run("git", "commit", "--message", "Update", cwd=project, fails=True)
    assert f"- hook id: {hook}\n" in refused.stdout + refused.stderr
    # make lint looks at files that were committed without the hook.
    git(project, "commit", "--no-verify", "--message", "Update")
    linted = run(pre_commit, "run", "--all-files", hook, cwd=project, fails=True)
    assert f"- hook id: {hook}\n" in linted.stdout


def test_text_that_only_looks_like_markers_is_committed(project):
    (project / "notes.md").write_text(
        "Install\n=======\n\n`<<<<<<< before updating` is a marker.\n"
    )
    commit_all(project, "Explain markers")
