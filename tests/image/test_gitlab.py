"""GitLab's jobs, in containers of the image that they name."""

import os
import uuid
from pathlib import Path

import pytest
import yaml

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture
def run_job(create, docker, local_base, tmp_path):
    """Run the commands of a job in a fresh container, as GitLab's runner does, and return the output."""
    volume = f"pinbook-builds-{uuid.uuid4()}"

    def run_job(name: str, *options: str, before: str = "") -> str:
        project = create("Pinbook gitlab", stack="minimal", ci="gitlab")
        pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
        image = local_base() or pipeline["default"]["image"]
        lines = ["set -eo pipefail", "export CI_PROJECT_DIR=$PWD CI=true"]
        variables = pipeline["variables"] | pipeline[name].get("variables", {})
        lines += [f'export {name}="{value}"' for name, value in variables.items()]
        lines += pipeline["default"]["before_script"]
        # As GitLab's runner does, because it has cloned as another user.
        lines += ["git config --global --add safe.directory $PWD"]
        lines += [before + line for line in pipeline[name]["script"]]
        script = tmp_path / "script"
        script.write_text("\n".join(lines))

        settings = [f"--env=PIP_CERT={CERTIFICATES}", f"--env=SSL_CERT_FILE={CERTIFICATES}"]
        settings += [f"--volume={volume}:/builds", "--workdir=/builds/project", *options]
        container = docker("create", *settings, image, "bash", "/script").stdout.strip()
        try:
            docker("cp", f"{project}/.", f"{container}:/builds/project")
            docker("cp", script, f"{container}:/script")
            if bundle := os.environ.get("SSL_CERT_FILE"):
                docker("cp", Path(bundle).resolve(), f"{container}:{CERTIFICATES}")
            return docker("start", "--attach", container).stdout
        finally:
            docker("rm", "--force", container)
            docker("volume", "rm", volume)

    return run_job


def test_the_job_passes_in_its_image(run_job):
    assert "4 passed" in run_job("check")


@pytest.mark.slow
def test_the_image_is_built_and_tried_without_a_daemon(run_job, docker, local_base, mount):
    """The container is privileged, as on the shared runners of GitLab.com. Nothing is pushed."""
    before = ""
    if base := local_base():
        docker("save", "--output", mount / "base.tar", base)
        # Limits of files and processes that a container in a container may set.
        limits = "--ulimit nproc=9000:9000 --ulimit nofile=9000:9000"
        flags = f"--build-arg PYTHON_IMAGE={base} {limits}"
        load = (
            "[ -e $CONTAINERS_STORAGE_CONF ] && podman load --input /base/base.tar && touch /loaded"
        )
        before = f"export IMAGE_FLAGS='{flags}'; [ -e /loaded ] || {{ {load}; }} || true; "
    options = [
        "--privileged",
        f"--volume={mount}:/base",
        "--env=CI_PIPELINE_SOURCE=merge_request_event",
    ]
    printed = run_job("build", *options, before=before)
    assert "usage: " in printed
    assert "1001:0" in printed
