"""Requests to web servers that a config names, for webhooks and the reader http: guarded against what hands out credentials.

Addresses of metadata services of clouds (link-local ones and a few more) are never asked, however they are spelled: where
a connection leads is looked at once it stands and before anything is sent, redirects included. Redirects lead to http and
https only, never from https to http, and take headers of the config along to the same origin only.

On the standard library and not on `httpx`, which tells its log whole addresses with the keys in them, refuses names that web
servers have (IDNA 2008), and lets nobody look at where a connection leads.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

KEPT = "%/:=&?~#+!$,;'@()*[]"
"""Characters of an address that stand for themselves; others are escaped."""

_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # AWS, Google Cloud, Azure, and most others
        "fe80::/10",
        "fd00:ec2::/32",  # AWS: fd00:ec2::254
        "fd20:ce::/32",  # Google Cloud: fd20:ce::254
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(OSError):
    """A request that is never made; trying again changes nothing."""


def wrong_address(address: str) -> str:
    """What is wrong with an address, as the end of a sentence; "" for a right one."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is not an address: {error}"
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", address):
        return "is not an http or https address"
    return ""


def encoded(address: str) -> str:
    """The address as servers are asked for it: in ASCII, its host by IDNA, spaces and other characters escaped.

    Raises Refused for one with line ends or other control characters, or with a host that IDNA does not know.

    >>> encoded("https://b\u00fccher.example:8443/f\u00fcr alle.jl?a=%20&b=\u00e9")
    'https://xn--bcher-kva.example:8443/f%C3%BCr%20alle.jl?a=%20&b=%C3%A9'
    """
    if re.search(r"[\x00-\x1f\x7f]", address):
        raise Refused("there is a control character in its address")
    try:
        parts = urlsplit(address.strip())
        host = (parts.hostname or "").encode("idna").decode() if not address.isascii() else parts.hostname or ""
    except ValueError as error:
        raise Refused(f"its address is not one: {error}") from None
    user, at, place = parts.netloc.rpartition("@")
    place = place if place.isascii() else f"{host}{place[len(parts.hostname or '') :]}"
    return quote(parts._replace(netloc=f"{user}{at}{place}").geturl(), safe=KEPT)


def ask(
    address: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    secret: Mapping[str, str] | None = None,
    timeout: float,
) -> Any:
    """The answer. `headers` go to wherever redirects lead, `secret` ones and a user in the address to the first origin only.

    A body is sent again with the same method where a redirect leads. Raises Refused, OSError (HTTPError for a status that
    is not a success), HTTPException, ValueError.
    """
    address = encoded(address)
    if wrong_address(address):
        raise Refused(f"it {wrong_address(address)}")
    parts = urlsplit(address)
    refuse_metadata(parts.hostname or "")
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    request = _Request(address, body, dict(headers), method=method)
    request.secret = dict(secret or {})
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.secret.setdefault("Authorization", f"Basic {base64.b64encode(login).decode()}")
    for name, value in request.secret.items():
        request.add_header(name, value)
    try:
        return urllib.request.build_opener(_Http, _Https, _Redirects).open(request, timeout=timeout)
    except urllib.error.URLError as error:
        if isinstance(error.reason, Refused):
            raise error.reason from None
        raise


class _Request(urllib.request.Request):
    secret: dict[str, str]


def refuse_metadata(host: str) -> None:
    """Raises Refused for an address of a metadata service, in every spelling that systems know: 2852039166, 0xA9FEA9FE.

    Names are looked at once connected.
    """
    host = unquote(host).strip("[]").rstrip(".").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return
    for each in (address, *_inside(address)):
        if any(each in network for network in _METADATA):
            raise Refused("link-local addresses and those of metadata services are not called")


def _inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


def _checked(connected: socket.socket | None) -> None:
    """Before anything is sent: a name may have led to such an address."""
    if connected is not None:
        refuse_metadata(str(connected.getpeername()[0]))


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _checked(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _checked(self.sock)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """The same request to the new address: Python would GET it, and nobody would be told."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request:
        if wrong_address(newurl):
            raise Refused("it redirects to something that is not an http or https address")
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, new.scheme) == ("https", "http"):
            raise Refused(f"it redirects from https to http, at {new.hostname}")
        refuse_metadata(new.hostname or "")
        kept = {name.lower() for name in getattr(req, "secret", {})} if _origin(old) != _origin(new) else set()
        given = {name: value for name, value in req.headers.items() if name.lower() not in kept}
        request = _Request(newurl, req.data, given, method=req.get_method())
        request.secret = {} if kept else getattr(req, "secret", {})
        return request

    http_error_307 = urllib.request.HTTPRedirectHandler.http_error_302
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def _origin(parts: Any) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
