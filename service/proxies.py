"""Who is at the other end, when there are reverse proxies in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(value: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises `ValueError`, whose message names the bad one."""
    networks = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is no address or network such as 10.0.0.0/8 ({error})") from None
    return tuple(networks)


class TrustedProxies:
    """WSGI middleware that puts the client's own address into REMOTE_ADDR, and its scheme into wsgi.url_scheme.

    X-Forwarded-For is a list to which every proxy adds the address that it was asked from. What a client wrote there
    itself stands on the left, so it is read from the right, up to the first address that is no proxy of ours.
    """

    def __init__(self, application: WSGIApplication, networks: tuple[Network, ...]) -> None:
        self._application = application
        self._networks = networks

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._is_ours(environ.get("REMOTE_ADDR", "")):
            environ["REMOTE_ADDR"] = self._client(environ["REMOTE_ADDR"], environ.get("HTTP_X_FORWARDED_FOR", ""))
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return self._application(environ, start_response)

    def _client(self, address: str, forwarded: str) -> str:
        for candidate in reversed(forwarded.split(",")):
            parsed = _address(candidate.strip())
            if parsed is None:
                return address  # what nobody could be asked from; further to the left is no more to be believed
            address = str(parsed)
            if not self._is_ours(address):
                return address
        return address

    def _is_ours(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, with or without the port that some proxies add."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
