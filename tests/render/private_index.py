"""Package indexes on this machine with a few tiny packages; a private one asks for a password."""

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "ada", "s3cret@word"  # pragma: allowlist secret
IN_URL = f"{USER}:s3cret%40word"
LONG_AGO = "2024-01-01T00:00:00Z"
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
# What builds a package: it takes the wheel that lies beside pyproject.toml.
BUILDER = """\
import pathlib, shutil

def build_wheel(folder, settings=None, metadata=None):
    (wheel,) = pathlib.Path().glob("*.whl")
    return pathlib.Path(shutil.copy(wheel, folder)).name

build_editable = build_wheel
"""


def wheel(name: str, version: str, *metadata: str, code: str = "") -> bytes:
    """Return a wheel with one module."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": head(name, version, *metadata),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return content.getvalue()


def sdist(name: str, version: str) -> bytes:
    """Return a source distribution that brings its builder along."""
    build = 'requires = []\nbuild-backend = "builder"\nbackend-path = ["."]\n'
    files = {
        "PKG-INFO": head(name, version).encode(),
        "pyproject.toml": f"[build-system]\n{build}".encode(),
        "builder.py": BUILDER.encode(),
        f"{name}-{version}-py3-none-any.whl": wheel(name, version),
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def head(name: str, version: str, *metadata: str) -> str:
    return "\n".join(
        ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}", *metadata, ""]
    )


def needs(*requirements: str) -> list[str]:
    return [f"Requires-Dist: {requirement}" for requirement in requirements]


FILES = {
    f"{name.replace('-', '_')}-{version}-py3-none-any.whl": wheel(name, version, *metadata)
    for name, version, *metadata in [
        ("tiny-a", "1.0"),
        ("tiny-a", "2.0"),
        ("tiny-b", "1.0", *needs("tiny-a")),
        ("tiny-b", "2.0", *needs("tiny-a")),
        ("old-friend", "1.0", *needs("tiny-a<2")),
        ("fresh", "1.0"),
        ("fresh", "2.0"),
        ("withdrawn", "1.0"),
        ("withdrawn", "2.0"),
        ("spoiled", "1.0"),
        ("elsewhere", "1.0"),
        ("choosy", "1.0", "Provides-Extra: more", *needs("tiny-a; extra == 'more'")),
        ("picky", "1.0", *needs("withdrawn; python_version >= '3.99'")),
    ]
} | {
    "raw-1.0.tar.gz": sdist("raw", "1.0"),
    "builder-1.0-py3-none-any.whl": wheel("builder", "1.0", code=BUILDER),
    "builder-2.0-py3-none-any.whl": wheel("builder", "2.0", code="raise SystemExit"),
}
UPLOADED = {"fresh-2.0-py3-none-any.whl": YESTERDAY}
YANKED = {"withdrawn-2.0-py3-none-any.whl": "It deletes thesis.tex."}
WRONG = {"spoiled-1.0-py3-none-any.whl": "0" * 64}


HELD: dict[str, threading.Event] = {}  # Packages whose pages do not come, and who has asked.


class Index(BaseHTTPRequestHandler):
    """The index at /simple/; at /undated/ the same in HTML, which does not say how old a file is.

    At /other/ there is another, with the package elsewhere.
    """

    def do_GET(self):
        if page := re.fullmatch(r"/(simple|other|undated)/([a-z-]+)/", self.path):
            files = [file for file in FILES if file.startswith(page[2].replace("-", "_") + "-")]
            if (page[1] == "other") != (page[2] == "elsewhere"):
                files = []
            if page[2] in HELD:
                HELD[page[2]].set()
                while page[2] in HELD:
                    time.sleep(0.1)
            if not files:
                self.answer(404, b"There is no such package.")
            elif page[1] != "undated":
                kind = "application/vnd.pypi.simple.v1+json"
                entries = [
                    {
                        "filename": file,
                        "url": f"/files/{file}",
                        "hashes": {"sha256": digest(file)},
                        "upload-time": UPLOADED.get(file, LONG_AGO),
                        "yanked": YANKED.get(file, False),
                    }
                    for file in files
                ]
                page = {"meta": {"api-version": "1.1"}, "name": page[2], "files": entries}
                self.answer(200, json.dumps(page).encode(), kind)
            else:
                links = [f'<a href="/files/{f}#sha256={digest(f)}">{f}</a>' for f in files]
                self.answer(200, "\n".join(links).encode())
        elif (file := self.path.removeprefix("/files/")) in FILES:
            self.answer(200, FILES[file], "application/octet-stream")
        else:
            self.answer(404, b"There is no such file.")

    def do_HEAD(self):  # uv asks with it how large a wheel is.
        self.do_GET()

    def answer(self, status: int, content: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class PrivateIndex(Index):
    def do_GET(self):
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] == f"Basic {login}":
            super().do_GET()
        else:
            self.answer(401, b"Who are you?")


def digest(file: str) -> str:
    return WRONG.get(file) or hashlib.sha256(FILES[file]).hexdigest()


@contextmanager
def holding(name: str):
    """Let the index not answer about a package; give an event that says that it was asked."""
    HELD[name] = threading.Event()
    try:
        yield HELD[name]
    finally:
        del HELD[name]


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]):
    """Serve requests; give the host and port that answer, like 127.0.0.1:4711."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()
