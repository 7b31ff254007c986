"""nginx and Caddy as processes, in front of whatever listens on a port."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from tests.integration.deploy.files import DEPLOY, run, tool
from tests.support import unused_port

PATIENCE = 30.0


def nginx_configuration(folder: Path, upstream: int, http: int, https: int) -> Path:
    """deploy/nginx.conf in a configuration of its own, with other ports and a certificate made for the test."""
    key, certificate = folder / "privkey.pem", folder / "fullchain.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    done = run(tool("openssl"), *request, "-keyout", key, "-out", certificate)
    assert done.returncode == 0, done.stderr
    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ", f"listen 127.0.0.1:{https} "),
        ("/etc/ssl/translator/", f"{folder}/"),
    ):
        assert old in site
        site = site.replace(old, new)
    (folder / "translator.conf").write_text(site, encoding="utf-8")
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        + f"events {{}}\nhttp {{\n    access_log off;\n{temporary}    include {folder}/translator.conf;\n}}\n",
        encoding="utf-8",
    )
    return configuration


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[str]:
    """nginx with deploy/nginx.conf; its address."""
    program, port = tool("nginx"), unused_port()
    configuration = nginx_configuration(folder, upstream, unused_port(), port)
    command = [program, "-e", str(folder / "error.log"), "-c", str(configuration)]
    with _process(command, {}), _answering(f"https://localhost:{port}"):
        yield f"https://localhost:{port}"


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[str]:
    """Caddy with deploy/Caddyfile; its address. Without TLS, because a certificate would have to be fetched."""
    program, port = tool("caddy"), unused_port()
    # Caddy's own port for changes to its configuration is not of the Caddyfile.
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8").replace("\n{\n", "\n{\n\tadmin off\n", 1)
    (folder / "Caddyfile").write_text(text, encoding="utf-8")
    environment = {
        "SITE_ADDRESS": f"http://localhost:{port}",
        "UPSTREAM": f"127.0.0.1:{upstream}",
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with _process(command, environment), _answering(f"http://localhost:{port}"):
        yield f"http://localhost:{port}"


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def _answering(url: str) -> Iterator[None]:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            ask(f"{url}/metrics")
            break
        except OSError:
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.05)
    yield


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer; the certificate is not checked."""
    request = urllib.request.Request(url, body, {name.replace("_", "-"): text for name, text in headers.items()})
    context = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class Upstream(BaseHTTPRequestHandler):
    """Answers any POST in two pieces, the second when `go_on` is set; keeps the headers that it was sent."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[dict[str, list[str]]]] = []
    go_on: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append({name.lower(): self.headers.get_all(name) or [] for name in self.headers})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"data: first\n\n")
        if self.go_on.wait(PATIENCE):
            self._chunk(b"data: second\n\n")
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream() -> Iterator[int]:
    """A server of `Upstream`; its port."""
    Upstream.seen.clear()
    Upstream.go_on.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        Upstream.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
