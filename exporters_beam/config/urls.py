"""Sections of a config by a URL: `reader: s3://products/dumps/` is the reader s3 with a bucket and a prefix.

A storage's own options may stand beside it: `{name: s3://products/dumps/, options: {aws_region: eu-west-1}}`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from exporters_beam.components.schemes import SCHEMES
from exporters_beam.errors import ConfigError


def section_of(kind: str, url: str) -> tuple[str, dict[str, Any]] | None:
    """The name of the component and the options that a URL stands for; None where it is not a URL of a storage.

    Raises ConfigError where it says too little, or what belongs elsewhere.
    """
    if kind not in ("reader", "writer") or "://" not in url:
        return None
    if url.partition("://")[0] not in SCHEMES:
        raise ConfigError(f"name: {url} is not a URL of a storage; known: {', '.join(f'{name}://' for name in SCHEMES)}")
    scheme = url.partition("://")[0]
    where = {"reader": "prefix", "writer": "filebase"}[kind]
    if scheme in ("http", "https"):
        if kind == "writer":
            raise ConfigError("name: files cannot be delivered to a web server by its URL")
        return "http", {"input": url}
    if scheme in ("s3", "gs"):
        bucket, _, path = url.partition("://")[2].partition("/")
        return {"s3": "s3", "gs": "gcs"}[scheme], {"bucket": bucket, where: path}
    if scheme == "gdrive":
        folder, _, path = url.partition("://")[2].partition("/")
        return "gdrive", {"folder_id": folder, {"reader": "path", "writer": "filebase"}[kind]: path}
    if scheme == "dropbox":
        path = url.partition("://")[2]
        if not path.startswith("/"):
            raise ConfigError(f"name: {url} names no Dropbox: the token does; write dropbox:///{path}")
        return "dropbox", {{"reader": "path", "writer": "filebase"}[kind]: path[1:]}
    if scheme in ("az", "azfile"):
        place, _, path = url.partition("://")[2].partition("/")
        account, _, place = place.rpartition(".")
        name, option = {"az": ("azure_blob", "container"), "azfile": ("azure_file", "share")}[scheme]
        if name == "azure_file" and kind == "reader":
            where = "path"
        return name, {option: place, where: path, **({"account_name": account} if account else {})}
    return _server(kind, scheme, url)


def _server(kind: str, scheme: str, url: str) -> tuple[str, dict[str, Any]]:
    try:
        parts = urlsplit(url.replace("?", "%3F").replace("#", "%23"))
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"name: this is not a URL: {error}") from None
    if parts.password is not None:
        raise ConfigError("name: the URL has a password in it; give it as an option, e.g. ${secret:env:PASSWORD}")
    name = "ftp" if scheme == "ftps" else scheme
    path = unquote(parts.path)
    options: dict[str, Any] = {"host": parts.hostname or "", {"reader": "path", "writer": "filebase"}[kind]: path}
    if path.startswith("/~/"):
        options[{"reader": "path", "writer": "filebase"}[kind]] = path[3:] or "."
    if port:
        options["port"] = port
    if parts.username:
        options[f"{name}_user"] = unquote(parts.username)
    if scheme == "ftps":
        options["tls"] = True
    return name, options
