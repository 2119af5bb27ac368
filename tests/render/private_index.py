"""A package index on this machine that asks for a password, with a few tiny packages."""

import base64
import hashlib
import io
import re
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "ada", "s3cret@word"
IN_URL = f"{USER}:s3cret%40word"
PACKAGES = {
    ("tiny-a", "1.0"): [],
    ("tiny-a", "2.0"): [],
    ("tiny-b", "1.0"): ["tiny-a"],
    ("tiny-b", "2.0"): ["tiny-a"],
}


def wheel(name: str, version: str, needs: list[str]) -> bytes:
    """Return a wheel with one module, which knows its version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return content.getvalue()


WHEELS = {
    f"{name.replace('-', '_')}-{version}-py3-none-any.whl": wheel(name, version, needs)
    for (name, version), needs in PACKAGES.items()
}


class Index(BaseHTTPRequestHandler):
    def do_GET(self):
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {login}":
            self.answer(401, b"Who are you?")
        elif page := re.fullmatch(r"/simple/([a-z-]+)/", self.path):
            links = [
                f'<a href="/files/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
                for file, content in WHEELS.items()
                if file.startswith(page[1].replace("-", "_") + "-")
            ]
            self.answer(200 if links else 404, "\n".join(links).encode())
        elif (file := self.path.removeprefix("/files/")) in WHEELS:
            self.answer(200, WHEELS[file], "application/octet-stream")
        else:
            self.answer(404, b"There is no such file.")

    do_HEAD = do_GET  # uv asks with it how large a wheel is.

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


@contextmanager
def serve():
    """Serve the index; give its host and port, like 127.0.0.1:4711."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()
