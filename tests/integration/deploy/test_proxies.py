"""nginx and Caddy: their own check of the configuration, and both in front of a real server."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.settings import Settings
from tests.integration.deploy.files import DEPLOY, run, tool
from tests.integration.deploy.proxies import PATIENCE, Upstream, ask, caddy, nginx, nginx_configuration, upstream
from tests.integration.service.conftest import Server

Proxy = Callable[[Path, int], AbstractContextManager[str]]
proxies = pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])


def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    configuration = nginx_configuration(tmp_path, 8000, 8080, 8443)
    done = run(tool("nginx"), "-t", "-q", "-e", tmp_path / "error.log", "-c", configuration)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "error.log").read_text(encoding="utf-8") == ""


def test_caddy_accepts_its_configuration_and_would_write_it_the_same() -> None:
    program = tool("caddy")
    done = run(program, "validate", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr
    assert '"level":"warn"' not in done.stderr
    formatted = run(program, "fmt", DEPLOY / "Caddyfile")
    assert formatted.stdout == (DEPLOY / "Caddyfile").read_text(encoding="utf-8")


def test_both_look_for_the_service_where_it_is() -> None:
    settings = Settings()
    for name in ("nginx.conf", "Caddyfile"):
        assert f"{settings.host}:{settings.port}" in (DEPLOY / name).read_text(encoding="utf-8")


def connect(url: str) -> http.client.HTTPConnection:
    """A connection to a proxy, whose certificate is not checked."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return http.client.HTTPConnection("localhost", parts.port, timeout=PATIENCE)
    context = ssl._create_unverified_context()
    return http.client.HTTPSConnection("localhost", parts.port, timeout=PATIENCE, context=context)


@proxies
def test_a_translation_comes_through_and_what_is_not_for_the_public_does_not(
    proxy: Proxy, service: Server, tmp_path: Path
) -> None:
    body = json.dumps({"q": "Where is the station?", "source": "en", "target": "fr"}).encode()
    with proxy(tmp_path, service.port) as url:
        status, answer = ask(f"{url}/translate", body, Content_Type="application/json")
        assert status == 200
        direct = ask(f"{service.url}/translate", body, Content_Type="application/json")
        assert json.loads(answer) == json.loads(direct[1])
        for path in ("/metrics", "/health", "/ready", "/admin/models"):
            assert ask(url + path)[0] == 404
        # What is too large for the service is refused by the service, which does not read it: a proxy that is still
        # writing may see no more of that than a connection that was closed.
        too_large = b" " * (Settings().body_bytes + 1)
        status, answer = ask(f"{url}/translate", too_large, Content_Type="application/json")
        assert status in (413, 502)
        assert status == 502 or "error" in json.loads(answer)
        # What is too large for the proxy is refused before it comes.
        connection = connect(url)
        connection.putrequest("POST", "/translate")
        connection.putheader("Content-Length", str(3 * 1024**2))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


@proxies
def test_a_stream_is_passed_on_as_it_comes_and_where_it_comes_from_cannot_be_feigned(
    proxy: Proxy, tmp_path: Path
) -> None:
    with upstream() as port, proxy(tmp_path, port) as url:
        connection = connect(url)
        headers = {
            "Accept": "text/event-stream",
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Proto": "gopher",
            "Forwarded": "for=203.0.113.7",
            "X-Request-ID": "abc",
        }
        connection.request("POST", "/translate", b"{}", headers)
        answer = connection.getresponse()
        # The second event is written only when the first one has been read.
        assert answer.read1() == b"data: first\n\n"
        Upstream.go_on.set()
        assert answer.read() == b"data: second\n\n"
        connection.close()
    (seen,) = Upstream.seen
    assert seen["x-forwarded-for"] in (["127.0.0.1"], ["::1"])
    assert seen["x-forwarded-proto"] == [urlsplit(url).scheme]
    assert "forwarded" not in seen
    assert seen["x-request-id"] == ["abc"]
