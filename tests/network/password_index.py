"""A package index that asks for a password, of the wheels in a folder.

    python password_index.py FOLDER COMMAND...

serves it at 127.0.0.1:8642, which only a machine without other network has free for sure, while a
command runs.
"""

import base64
import hashlib
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

LOGIN = "winifred:s3cret@word"
LOGIN_IN_URL = quote(LOGIN, safe=":")
ADDRESS = "127.0.0.1", 8642


class Index(BaseHTTPRequestHandler):
    """It keeps the names of the files that were fetched in `server.fetched`."""

    def do_GET(self):
        login = base64.b64encode(LOGIN.encode()).decode()
        file = self.server.folder / Path(self.path).name
        if self.headers["Authorization"] != f"Basic {login}":
            self.answer(401, b"Who are you?")
        elif page := re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path):
            name = page[1].replace("-", "_") + "-"
            files = [f for f in self.server.folder.glob("*.whl") if f.name.lower().startswith(name)]
            links = [f'<a href="/files/{f.name}#sha256={digest(f)}">{f.name}</a>' for f in files]
            self.answer(200 if links else 404, "\n".join(links).encode())
        elif file.suffix == ".whl" and file.exists():
            self.server.fetched.append(file.name)
            self.answer(200, file.read_bytes(), "application/octet-stream")
        else:
            self.answer(404, b"There is no such file.")

    do_HEAD = do_GET  # uv asks with it how large a wheel is.

    def answer(self, status: int, content: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 100  # uv asks for many packages at once, and would wait for the sixth


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def serve(folder: Path, address: tuple[str, int] = ("127.0.0.1", 0)):
    """Serve a folder; give the server, whose `server_address` says where."""
    with Server(address, Index) as server:
        server.folder, server.fetched = folder, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with serve(Path(sys.argv[1]), ADDRESS):
        sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
