"""One commit gives one image, at any time and in any folder; another lock gives another."""

import os
import re
import subprocess

import pytest

from tests.support import commit_all


@pytest.fixture(scope="session")
def build(make, docker):
    """Build an image of a project, and return its id."""

    def build(project, stage: str = "runtime", flags: str = "") -> str:
        make(project, "image", "IMAGE=pinbook-repeat", f"STAGE={stage}", flags=flags)
        return docker("inspect", "--format", "{{.Id}}", f"pinbook-repeat:{stage}").stdout

    return build


def test_two_clones_give_one_image_with_a_cache_or_without(build, clone, either_project):
    one, two = clone(either_project, "one"), clone(either_project, "two of another name")
    # Another clock, and another umask.
    for path in two.rglob("*"):
        if ".git" not in path.parts and path.is_file():
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700 if os.access(path, os.X_OK) else 0o600)
    # Whether the production image of requirements.txt is the same too, the wheelhouse tells.
    stage = "runtime" if (one / "uv.lock").exists() else "notebook"
    first = build(one, stage)
    assert build(two, stage, flags="--no-cache") == first


def test_another_lock_gives_another_image(build, clone, small_project, layers):
    project = clone(small_project)
    lock = project / "requirements.txt"
    newer = re.search(r"^packaging==.*\n(?: .*\n)*", lock.read_text(), re.MULTILINE)[0]
    older = (
        "packaging==24.2 \\\n"
        "    --hash=sha256:09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759\n"
    )
    (project / "requirements.in").write_text("packaging\n")
    images = []
    for pin in (newer, older):
        lock.write_text(pin)
        images.append(layers(build(project)))
    assert images[0] != images[1]


def test_a_change_of_the_code_installs_nothing_again(build, clone, project, layers):
    changed = clone(project)
    before = layers(build(changed))
    module = next((changed / "src").glob("*/__init__.py"))
    module.write_text(module.read_text() + "ANSWER = 42\n")
    commit_all(changed)
    after = layers(build(changed))
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_a_new_commit_shares_all_layers_of_the_old_one(build, clone, small_project, docker, layers):
    project = clone(small_project)
    before = build(project)
    (project / "README.md").write_text("# Changed\n")
    subprocess.run(
        ["git", "-C", project, "commit", "-qam", "x", "--date", "2030-01-01"],
        check=True,
        env={**os.environ, "GIT_COMMITTER_DATE": "2030-01-01T00:00:00Z"},
    )
    after = build(project)
    assert layers(before) == layers(after)
    created = docker("inspect", "--format", "{{.Created}}", after.strip()).stdout
    assert created.startswith("2030-01-01T00:00:00")


def test_the_image_is_not_larger_than_the_base_and_the_packages(docker, local_base, runtime):
    base = local_base()
    if not base:
        pytest.skip("NOT TESTED: the size of the image, because no local base is here to compare")
    sizes = [
        int(docker("inspect", "--format", "{{.Size}}", image).stdout) for image in (base, runtime)
    ]
    count = "du -sb --apparent-size /venv | cut -f1"
    packages = docker("run", "--rm", "--entrypoint", "sh", runtime, "-c", count).stdout
    assert sizes[1] <= 1.05 * (sizes[0] + int(packages))
