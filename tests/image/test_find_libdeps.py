"""docker/find-libdeps names the packages of the libraries that are needed, and those that are missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.elf_files import BITS, write_elf
from tests.support import DEBIAN

TOOL = DEBIAN / "find-libdeps"
pytestmark = pytest.mark.skipif(
    not shutil.which("dpkg-query"), reason="find-libdeps asks Debian's package database"
)


def find(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOL), str(folder), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_library_is_named_by_its_package_once_and_sorted(tmp_path):
    write_elf(tmp_path / "a.so", "libz.so.1", "libc.so.6")
    write_elf(tmp_path / "deep" / "in" / "b.so", "libc.so.6")
    assert find(tmp_path).stdout == "libc6\nzlib1g\n"


@pytest.mark.parametrize("name", ["libfoo.so.1.2", "program", "name with blanks.so", "_x.abi3.so"])
def test_every_object_is_read_whatever_its_name(tmp_path, name):
    write_elf(tmp_path / name, "libnowhere.so.7")
    result = find(tmp_path)
    assert result.returncode == 1
    assert f"libnowhere.so.7, needed by {tmp_path / name}" in result.stderr


def test_all_missing_libraries_are_listed_with_what_to_do(tmp_path):
    write_elf(tmp_path / "a.so", "libone.so.1", "libc.so.6")
    write_elf(tmp_path / "b.so", "libtwo.so.2", "libone.so.1")
    result = find(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("libone.so.1") == 1
    assert "libtwo.so.2" in result.stderr
    assert "docker/apt-run.txt" in result.stderr


@pytest.mark.parametrize("kind", ["rpath", "runpath"])
@pytest.mark.parametrize(
    "path", ["$ORIGIN/../x.libs", "${ORIGIN}/../x.libs", "/nowhere:$ORIGIN/../x.libs"]
)
def test_a_bundled_library_is_found_through_origin(tmp_path, kind, path):
    write_elf(tmp_path / "x.libs" / "libz.so.1")
    write_elf(tmp_path / "x" / "a.so", "libz.so.1", **{kind: path})
    result = find(tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_library_that_another_package_loads_counts_as_there(tmp_path):
    write_elf(tmp_path / "torch" / "lib" / "libtorch.so", soname="libtorch.so.2")
    write_elf(tmp_path / "vision" / "_C.so", "libtorch.so", "libtorch.so.2")
    assert find(tmp_path).returncode == 0


def test_a_bundled_library_for_another_processor_does_not_count(tmp_path):
    write_elf(tmp_path / "libs" / "libother.so.1", machine=8)
    write_elf(tmp_path / "a.so", "libother.so.1", runpath="$ORIGIN/libs")
    assert "libother.so.1" in find(tmp_path).stderr


@pytest.mark.parametrize(
    "foreign",
    [{"bits": 96 - BITS}, {"machine": 8}, {"order": ">"}],
    ids=["other word size", "other processor", "other byte order"],
)
def test_objects_for_other_machines_are_left_out(tmp_path, foreign):
    write_elf(tmp_path / "attach_other.so", "libmissing.so.1", **foreign)
    result = find(tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("length", [4, 15, 40, 100, 200])
def test_a_damaged_file_is_left_out(tmp_path, length):
    whole = write_elf(tmp_path / "whole", "libmissing.so.1").read_bytes()
    (tmp_path / "whole").write_bytes(whole[:length])
    assert find(tmp_path).returncode == 0


def test_links_and_other_files_are_left_out(tmp_path):
    (tmp_path / "dangling.so").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "script.so").write_text("INPUT(libmissing.so.1)\n")
    (tmp_path / "empty.so").touch()
    assert find(tmp_path).returncode == 0


def test_libraries_of_the_graphics_driver_may_be_missing(tmp_path):
    write_elf(tmp_path / "a.so", "libcuda.so.1", "libnvidia-ml.so.1")
    assert find(tmp_path).returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "nvidia/cu13/lib/libcufile_rdma.so.1",
        "nvidia/nvshmem/lib/nvshmem_transport_ucx.so.6",
        "torch/lib/libgfortran.so.5",
    ],
)
def test_what_cuda_only_tries_may_lack_its_libraries(tmp_path, path):
    write_elf(tmp_path / path, "libmissing.so.1")
    assert find(tmp_path).returncode == 0
    write_elf(tmp_path / "nvidia/cu13/lib/libcudart.so.13", "libmissing.so.1")
    assert "needed by" in find(tmp_path).stderr


def test_a_library_may_be_missing_where_the_user_says_so(tmp_path):
    write_elf(tmp_path / "venv" / "a.so", "libodbc.so.2")
    (tmp_path / "apt-run.txt").write_text("ffmpeg\n!libodbc.so.2  # nobody uses SQL here\n")
    assert find(tmp_path / "venv").returncode == 1
    assert find(tmp_path / "venv", "--optional", str(tmp_path / "apt-run.txt")).returncode == 0


def test_a_library_known_elsewhere_is_named_by_its_package(tmp_path):
    write_elf(tmp_path / "venv" / "a.so", "libnowhere.so.7", "libc.so.6")
    known = tmp_path / "libraries.txt"
    known.write_text(
        "diversion by dash from: /usr/lib/libnowhere.so.7\n"
        "libnowhere7:amd64: /usr/lib/x86_64-linux-gnu/libnowhere.so.7\n"
        "libother1, libother2: /usr/lib/libother.so.1\n"
    )
    result = find(tmp_path / "venv", "--known", str(known))
    assert (result.returncode, result.stdout) == (0, "libc6\nlibnowhere7\n")
    write_elf(tmp_path / "venv" / "b.so", "libother.so.2")
    assert "libother.so.2" in find(tmp_path / "venv", "--known", str(known)).stderr


def test_the_environment_of_these_tests_is_complete():
    """A real environment, with extension modules and bundled libraries of many packages."""
    result = find(Path(sys.prefix))
    assert result.returncode == 0, result.stderr
    assert "libc6" in result.stdout.split()


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    result = find(tmp_path / "nowhere")
    assert result.returncode == 2
    assert "is not a folder" in result.stderr
