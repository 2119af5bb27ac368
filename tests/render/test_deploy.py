"""The manifests for Kubernetes fit its published schemas, and name images by digest and no package."""

import re

import kubernetes_validate
import pytest
import yaml

VERSIONS = ["1.30", "1.37"]
# A name that YAML could take for a number.
ANSWERS = [{"project_slug": "bird-songs"}, {"project_slug": "123"}]


@pytest.fixture(params=ANSWERS, ids=lambda answers: answers["project_slug"])
def folder(request, render):
    return render(cluster="dask", package_name="bird_songs", **request.param) / "deploy"


@pytest.fixture
def manifests(folder) -> list[dict]:
    return list(yaml.safe_load_all((folder / "cluster.yaml").read_text()))


@pytest.fixture
def pods(manifests) -> dict[str, dict]:
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in manifests
        if "template" in one["spec"]
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_fit_the_schemas_of_kubernetes(version, manifests):
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    broken = manifests[-1] | {"spec": manifests[-1]["spec"] | {"backofLimit": 0}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_each_image_has_a_digest_and_installs_nothing(folder, pods):
    settings = yaml.safe_load((folder / "kustomization.yaml").read_text())
    digests = {image["name"]: image["digest"] for image in settings["images"]}
    assert isinstance(settings["namespace"], str)
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in digests.values())
    assert {one["image"] for pod in pods.values() for one in pod["containers"]} == set(digests)
    assert "install" not in (folder / "cluster.yaml").read_text()
    assert "EXTRA_PIP_PACKAGES" not in (folder / "cluster.yaml").read_text()


def test_pods_pass_restricted_pod_security(pods):
    assert set(pods) == {"scheduler", "worker", "notebook"}
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_job_fails_with_its_notebook(manifests, pods):
    (job,) = (one for one in manifests if one["kind"] == "Job")
    assert job["spec"]["backoffLimit"] == 0
    assert pods["notebook"]["restartPolicy"] == "Never"
