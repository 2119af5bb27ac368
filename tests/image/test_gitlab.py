"""GitLab's job, in a container of the image that it names."""

import os
from pathlib import Path

import yaml

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def test_the_job_passes_in_its_image(create, docker, local_base, tmp_path):
    project = create("Pinbook gitlab", stack="minimal", ci="gitlab")
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    image = local_base() or pipeline["default"]["image"]
    lines = ["set -eo pipefail", "export CI_PROJECT_DIR=$PWD"]
    lines += [f"export {name}={value}" for name, value in pipeline["variables"].items()]
    lines += pipeline["default"]["before_script"]
    # As GitLab's runner does, because it has cloned as another user.
    lines += ["git config --global --add safe.directory $PWD", *pipeline["check"]["script"]]
    script = tmp_path / "script"
    script.write_text("\n".join(lines))

    options = ["--workdir", "/builds", "--env", f"PIP_CERT={CERTIFICATES}"]
    options += ["--env", f"SSL_CERT_FILE={CERTIFICATES}"]
    container = docker("create", *options, image, "bash", "/script").stdout.strip()
    try:
        docker("cp", f"{project}/.", f"{container}:/builds")
        docker("cp", script, f"{container}:/script")
        if bundle := os.environ.get("SSL_CERT_FILE"):
            docker("cp", Path(bundle).resolve(), f"{container}:{CERTIFICATES}")
        printed = docker("start", "--attach", container).stdout
    finally:
        docker("rm", "--force", container)
    assert "4 passed" in printed
