"""The image on Alpine: musl instead of glibc, BusyBox instead of GNU, apk instead of apt."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.image.conftest import STAND_IN
from tests.image.elf_files import write_elf
from tests.image.test_matrix import IMPORT_ALL, STRICT, USERS
from tests.support import commit_all, pins

DOCOPT = """docopt==0.6.2 \\
    --hash=sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491
"""
CRCMOD = """crcmod==1.7 \\
    --hash=sha256:dc7051a0db5f2bd48665a990d3ec1cc305a466a77358ca4492826f41f283601e
"""
TQDM = {
    "4.67.1": "26445eca388f82e72884e0d580d5464cd801a3ea01e63e5601bdff9ba6a48de2",
    "4.66.5": "90279a3770753eafc9194a0364852159802111925aa30eb3f9d85b0e805ac7cd",
}
# Its files are for glibc, and it has no source.
TRITON = """triton==3.3.1 \\
    --hash=sha256:b89d846b5a4198317fec27a5d3a609ea96b6d557ff44b56c23176546023c4240
"""


def image_id(docker, image: str) -> str:
    return docker("inspect", "--format", "{{.Id}}", image).stdout.strip()


@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_it_runs_as_any_user_locked_down(docker, user, alpine_runtime):
    run = ["run", "--rm", *STRICT, *user]
    assert docker(*run, alpine_runtime).stdout.endswith("°C warmer in summer\n")
    imported = docker(*run, "--entrypoint", "python", alpine_runtime, "-c", IMPORT_ALL)
    assert int(imported.stdout) > 10


@pytest.fixture
def cells_of(docker, mount):
    """Return a function that runs the notebook of a project in its image, and gives its cells."""

    def cells_of(project: Path, image: str) -> list[dict]:
        shutil.copytree(project / "notebooks", mount / "notebooks")
        subprocess.run(["chown", "-R", "4242:4242", mount], check=True)
        options = [*STRICT, "--user", "123456:654321", "--volume", f"{mount}:/project"]
        convert = "nbconvert --execute --to notebook --stdout /project/notebooks/quickstart.ipynb"
        run = ["run", "--rm", *options, "--entrypoint", "jupyter", image]
        return json.loads(docker(*run, *convert.split()).stdout)["cells"]

    return cells_of


def test_the_notebook_runs_in_its_image(cells_of, alpine_project, alpine_notebook):
    cells = cells_of(alpine_project, alpine_notebook)
    assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", []))


def test_nothing_in_it_helps_an_intruder(docker, alpine_runtime):
    look = (
        "find / -xdev -perm /6000; find / -xdev -user 1001; command -v pip uv gcc cc make git curl;"
        "find /root /var/log /var/cache/apk /mnt /docker /lock -type f -size +0 2>/dev/null; true"
    )
    run = ["run", "--rm", "--user", "0", "--entrypoint", "sh", alpine_runtime, "-c", look]
    assert docker(*run).stdout == ""
    # BusyBox's find has no -writable.
    look = "find / -xdev ! -type l ! -path '/dev/*' ! -path '/tmp*' ! -path '/var/tmp*' ! -path /cache | while read -r f; do [ ! -w $f ] || echo $f; done"
    run = ["run", "--rm", "--entrypoint", "sh", alpine_runtime, "-c", look]
    assert docker(*run).stdout.splitlines() == []


def test_make_sizes_works_without_gnu(alpine_project, alpine_runtime, make):
    assert re.search(
        r"M\t/venv/lib/python3\.\d+/site-packages/numpy\n", make(alpine_project, "sizes").stdout
    )


@pytest.mark.slow
def test_two_builds_and_one_from_wheels_are_the_same(
    clone, alpine_project, alpine_base, make, docker
):
    """With a package of Alpine, too: apk writes a log, a database and times."""
    project = clone(alpine_project)
    (project / "docker/apk-run.txt").write_text("birds\n" if alpine_base else "jq\n")
    commit_all(project, "Name a package")
    image = ["image", "IMAGE=pinbook-alpine-again"]
    make(project, *image)
    first = image_id(docker, "pinbook-alpine-again:runtime")
    stages = "system,base,packages,libraries,code,runtime"
    make(project, *image, flags=f"--no-cache-filter {stages}")
    assert image_id(docker, "pinbook-alpine-again:runtime") == first
    make(project, "wheels")
    if alpine_base:
        make(project, *image, flags="--network none")
    else:
        make(project, *image)  # apk needs its network.
    assert image_id(docker, "pinbook-alpine-again:runtime") == first


@pytest.fixture
def tiny(clone, alpine_project):
    """Write the run lock of a project that asks for what its lock has."""
    project = clone(alpine_project, "tiny")

    def write(*entries: str):
        names = [entry.split("==")[0] for entry in entries]
        (project / "requirements.in").write_text("".join(f"{name}\n" for name in names))
        (project / "requirements.txt").write_text("".join(entries))
        return project

    development = (project / "dev-requirements.txt").read_text()
    uv = re.search(r"^uv==.*\n(?: .*\n)*", development, re.MULTILINE)[0]
    (project / "dev-requirements.in").write_text("uv\n")
    (project / "dev-requirements.txt").write_text(uv)
    return write


def compiled(result) -> list[str]:
    return re.findall(r"build-wheels: Compiling (\S+) \(", result.stdout)


@pytest.mark.slow
def test_what_has_no_wheel_is_compiled_once_and_kept(tiny, make):
    def tqdm(version):
        return f"tqdm=={version} \\\n    --hash=sha256:{TQDM[version]}\n"

    flags = "--progress plain --no-cache-filter builder,wheels-runtime"
    first = make(tiny(DOCOPT), "wheels", flags=flags)
    assert compiled(first) == ["docopt==0.6.2"]
    assert "No wheel for musl, so these are compiled now: docopt==0.6.2." in first.stdout
    assert re.search(r"Compiled docopt-0\.6\.2\S+\.whl in \d+ s; 0 left", first.stdout)
    for lock in ([DOCOPT, tqdm("4.66.5")], [DOCOPT, tqdm("4.67.1")]):
        project = tiny(*lock)
        assert compiled(make(project, "wheels", flags=flags)) == []
        assert {w.name.split("-")[0] for w in project.glob("wheels/*.whl")} == {
            "docopt",
            "tqdm",
            "uv",
        }
    assert (
        compiled(make(project, "image", "IMAGE=pinbook-tiny", flags=f"{flags} --network none"))
        == []
    )


@pytest.fixture(scope="session")
def compiler(alpine_base, docker) -> str:
    """Return flags for a build that compiles: the stand-in's own g++ is one in name only."""
    if not alpine_base:
        return ""
    base = f"{STAND_IN}-with-compiler"
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    secret = ["--secret", f"id=ca-bundle,src={certificates}"]
    docker("build", *secret, "--tag", base, Path(__file__).parent / "alpine_compiler")
    return f"--build-arg PYTHON_IMAGE={base}"


@pytest.mark.slow
def test_an_extension_in_c_is_compiled_for_musl(tiny, make, docker, compiler):
    project = tiny(CRCMOD)
    built = make(project, "image", "IMAGE=pinbook-tiny", flags=f"--progress plain {compiler}")
    assert compiled(built) == ["crcmod==1.7"]
    # The check value of CRC-32 is known: it is 0xCBF43926.
    code = (
        "import crcmod, crcmod._crcfunext as extension; print(extension.__file__);"
        "print(crcmod.mkCrcFun(0x104C11DB7, initCrc=0, xorOut=0xFFFFFFFF)(b'123456789'))"
    )
    run = ["run", "--rm", *STRICT, "--user", "123456:654321", "--entrypoint"]
    file, value = docker(*run, "python", "pinbook-tiny:runtime", "-c", code).stdout.split()
    assert file.endswith("-linux-musl.so")
    assert int(value) == 0xCBF43926
    # The extension links musl, so find-libdeps has read and resolved it.
    assert docker(*run, "find-libdeps", "pinbook-tiny:runtime", "/venv").stdout == ""


@pytest.mark.slow
def test_scikit_learn_is_compiled_and_the_notebook_runs(create, make, docker, cells_of, compiler):
    """The first time takes five minutes on two cores; pip's cache keeps the wheel for the next."""
    project = create("Pinbook alpine science", base_image="alpine")
    built = make(project, "wheels", flags=f"--progress plain {compiler}")
    assert [pin.split("==")[0] for pin in compiled(built)] == ["scikit-learn"]
    assert len(list(project.glob("wheels/scikit_learn-*-1built-*-musllinux_1_2_*.whl"))) == 1
    offline = "--progress plain --network none"
    for stage in ("runtime", "notebook"):
        assert compiled(make(project, "image", f"STAGE={stage}", flags=offline)) == []
    image = "pinbook-alpine-science"
    run = ["run", "--rm", *STRICT, "--user", "123456:654321"]
    assert "°C" in docker(*run, f"{image}:runtime").stdout
    code = (
        "from sklearn.datasets import load_iris; from sklearn.ensemble import"
        " RandomForestClassifier; print(RandomForestClassifier(random_state=0).fit("
        "*load_iris(return_X_y=True)).score(*load_iris(return_X_y=True)))"
    )
    score = docker(*run, "--entrypoint", "python", f"{image}:runtime", "-c", code).stdout
    assert float(score) > 0.9
    cells = cells_of(project, f"{image}:notebook")
    assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", []))


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers",
    [{"stack": "minimal", "dependency_manager": "uv"}, {"cluster": "dask"}],
    ids=["uv", "dask"],
)
def test_projects_of_other_answers_run_too(create, make, docker, compiler, answers):
    project = create("Pinbook alpine other", base_image="alpine", **answers)
    make(project, "image", flags=compiler)
    run = ["run", "--rm", *STRICT, "--user", "123456:654321"]
    image = "pinbook-alpine-other:runtime"
    assert "°C" in docker(*run, image).stdout
    imported = docker(*run, "--entrypoint", "python", image, "-c", IMPORT_ALL)
    assert int(imported.stdout) > 10


def break_apk_run(project):
    (project / "docker/apk-run.txt").write_text("nowhere\n")


def write_a_bad_line(project):
    (project / "docker/apk-run.txt").write_text("birds bees\n")


def keep_the_list_of_debian(project):
    (project / "docker/apt-run.txt").write_text("libpq5\n")


def ask_for_glibc(project):
    (project / "requirements.in").write_text("triton\n")
    (project / "requirements.txt").write_text(TRITON)


def lack_what_a_build_needs(project):
    (project / "requirements.in").write_text("docopt\n")
    (project / "requirements.txt").write_text(DOCOPT)
    tqdm = f"tqdm==4.67.1 --hash=sha256:{TQDM['4.67.1']}\n"
    (project / "docker/build-requirements.txt").write_text(tqdm)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lack_what_a_build_needs,
            r"(?s)setuptools.*build-requirements.txt lacks what the build of docopt==0.6.2 asks for",
        ),
        (break_apk_run, r"apk-install: Alpine has no package for this, .*\n.*  nowhere"),
        (write_a_bad_line, "apk-install: this is not the name of an Alpine package: birds bees"),
        (
            keep_the_list_of_debian,
            "Debian, but the image is Alpine: name what it needs in docker/apk-run.txt",
        ),
        (ask_for_glibc, "triton==3.3.1 has neither a wheel for musl nor a source"),
    ],
)
def test_a_build_that_cannot_be_right_says_why(clone, alpine_project, make, spoil, sentence):
    project = clone(alpine_project)
    spoil(project)
    result = make(project, "image", flags="--progress plain", check=False)
    assert result.returncode != 0
    assert re.search(sentence, result.stdout)


@pytest.fixture
def find(docker, alpine_base, alpine_project, mount):
    """Run find-libdeps on files made for a test, where musl and apk are."""
    base = alpine_base or re.search(r"FROM (\S+)", (alpine_project / "Dockerfile").read_text())[1]
    (mount / "venv").mkdir()
    shutil.copytree(alpine_project / "docker", mount / "docker")
    run = ["run", "--rm", "--network", "none", "--volume", f"{mount}:/mnt:ro", base]

    def find(*options: str, then: str = "true"):
        command = (
            f"/mnt/docker/find-libdeps /mnt/venv {' '.join(options)} | tee /tmp/list && {then}"
        )
        return docker(*run, "sh", "-o", "pipefail", "-c", command, check=False)

    return find


def test_libraries_are_named_by_their_alpine_packages(find, mount):
    write_elf(mount / "venv/a.so", "libz.so.1", "libc.so", "libc.musl-x86_64.so.1", "libm.so.6")
    assert (find().returncode, find().stdout) == (0, "zlib\n")


def test_files_for_glibc_are_left_out(find, mount):
    write_elf(mount / "venv/a.so", "libc.so.6", "libgcc_s.so.1")
    assert (find().returncode, find().stdout) == (0, "")


def test_a_missing_library_stops_it_unless_it_is_wanted(find, mount):
    write_elf(mount / "venv/a.so", "libbirds.so.1")
    result = find()
    assert result.returncode == 1
    assert "libbirds.so.1, needed by /mnt/venv/a.so" in result.stderr
    assert "docker/apk-run.txt" in result.stderr
    line = "so:libbirds.so.1 # needed by /mnt/venv/a.so\n"
    assert (find("--wanted").returncode, find("--wanted").stdout) == (0, line)


def test_a_wanted_library_is_installed_by_its_name(find, mount, alpine_base):
    if not alpine_base:
        pytest.skip("NOT TESTED: birds of Alpine, because only the stand-in has them")
    write_elf(mount / "venv/a.so", "libbirds.so.1")
    then = "/mnt/docker/apk-install /tmp/list && /mnt/docker/find-libdeps /mnt/venv"
    assert find("--wanted", then=then).stdout.endswith("\nbirds\n")


def test_a_library_that_no_package_holds_is_named(find, mount):
    write_elf(mount / "venv/a.so", "libnowhere.so.7")
    result = find("--wanted", then="/mnt/docker/apk-install /tmp/list")
    assert result.returncode == 1
    assert "so:libnowhere.so.7 # needed by /mnt/venv/a.so" in result.stderr


def test_both_bases_share_one_lock(alpine_project, small_project):
    for name in ("requirements.txt", "dev-requirements.txt"):
        assert pins((alpine_project / name).read_text()) == pins((small_project / name).read_text())
