"""What other programs say about the workflows, of this repository and of projects."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support import BIN, ROOT, choices, run


@pytest.fixture(params=["this repository", *choices("dependency_manager")])
def workflows(request, render) -> list[Path]:
    own = request.param == "this repository"
    folder = ROOT if own else render(dependency_manager=request.param)
    return sorted((folder / ".github/workflows").glob("*.yml"))


def test_workflows_leave_nothing_to_their_auditor(workflows):
    run(BIN / "zizmor", "--offline", "--persona=auditor", "--quiet", *workflows)


def test_workflows_follow_the_schema_and_actionlint(workflows):
    run(BIN / "check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows)
    if not shutil.which("actionlint"):
        pytest.skip("NOT TESTED: workflows by actionlint, because it is not installed")
    run("actionlint", *workflows)


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
