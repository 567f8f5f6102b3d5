"""Where files are, as a user says it, and the reader of a config that reads them. Secrets in URLs become references."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from exporters_beam.components import registry
from exporters_beam.components.options import build, options_of
from exporters_beam.components.protocols import StreamReader
from exporters_beam.components.schemes import SCHEMES
from exporters_beam.config.urls import section_of
from exporters_beam.errors import ConfigError, shown

_HARMLESS = frozenset(
    (
        *("date", "day", "dl", "download", "ext", "format", "from", "lang", "language", "limit", "month", "offset", "output"),
        *("page", "per_page", "raw", "size", "sort", "to", "type", "v", "version", "year"),
    )
)
"""Parameters of URLs whose values are no secrets. Those of all others become references."""

_SIGNS = frozenset("*?[")

_LOGIN = re.compile(r"([a-z0-9]+://)([^/?#]*)@", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """The reader of what a user has named: its options as a config has them, and as they are used here.

    `secrets` are the references in the config, each with what it stands for, `folder` is that of this machine below which
    files are found.
    """

    reader: str
    options: dict[str, Any]
    real: dict[str, Any] = field(repr=False)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    folder: str = ""

    @property
    def component(self) -> StreamReader:
        """The reader. Raises ConfigError, MissingExtra."""
        options = {**self.real, "allow_empty": True}  # What is not there is told in words of this command.
        made: StreamReader = build(registry.load(registry.find("reader", self.reader)), options, dict(os.environ))
        return made

    def hide(self, text: str) -> str:
        """The text with `***` in place of the secrets of the URL."""
        for secret in sorted(self.secrets.values(), key=len, reverse=True):
            for form in dict.fromkeys((secret, unquote(secret))):
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return text


def place_of(given: str) -> Place:
    """The place of a path, a pattern or a URL. Raises ConfigError where there is nothing, or what it is nobody knows."""
    if not given:
        raise ConfigError("--from: give a file, a folder, a pattern or a URL")
    scheme, is_url, _ = given.partition("://")
    if not is_url:
        return _local(given)
    if scheme.lower() not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(f"--from: {shown(scheme)}:// is not the URL of a storage; known: {known}")
    given = scheme.lower() + given[len(scheme) :]
    return _of_web(given) if given.startswith(("http://", "https://")) else _of_storage(given)


def literal(value: Any) -> Any:
    """An option as a config has it, in which `${` is only text.

    >>> literal({"dir": "in/${vars.a}"})
    {'dir': 'in/$${vars.a}'}
    """
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: literal(member) for key, member in value.items()}
    return value


def _local(path: str) -> Place:
    path = os.path.expanduser(path)
    if "\0" in path:
        raise ConfigError("--from: a path holds no NUL character")
    if os.path.isdir(path):
        return _read(path, {"dir": path})
    if not os.path.lexists(path) and _SIGNS & set(path):
        folder, pattern = _divided(path)
        folder = folder or "."
        if not os.path.isdir(folder):
            raise ConfigError(f"--from: there is no folder {shown(folder)!r} to look for {shown(path)!r} in")
        behind = path if folder != "." or path.startswith("./") else f"./{path}"
        return _read(folder, {"dir": folder, "pattern": _expression(behind if behind != pattern else path)})
    if not os.path.exists(path):
        try:
            os.stat(path)
        except PermissionError:
            raise ConfigError(f"--from: {shown(path)!r} cannot be looked at: permission denied") from None
        except OSError:
            pass
        raise ConfigError(f"--from: there is no file or folder {shown(path)!r}")
    return Place("fs", {"input": literal(path)}, {"input": path})


def _read(folder: str, where: dict[str, str]) -> Place:
    return Place("fs", {"input": literal(where)}, {"input": where}, folder=folder)


def _divided(path: str) -> tuple[str, str]:
    """The folder before the first part with a sign of a pattern, and the rest."""
    parts = path.split("/")
    first = next(n for n, part in enumerate(parts) if _SIGNS & set(part))
    return "/".join(parts[:first]) or ("/" if path.startswith("/") else ""), "/".join(parts[first:])


def _expression(pattern: str) -> str:
    r"""A pattern of paths as a regular expression: `*` and `?` stay in a folder, `**/` leads through any.

    >>> _expression("in/**/a-?.*"), _expression("[!a]b[0-9].csv")
    ('^in/(?:.*/)?a\\-[^/]\\.[^/]*$', '^[^a]b[0-9]\\.csv$')
    """
    found = []
    for part in re.findall(r"\*\*/|\*+|\?|\[!?\]?[^\]/]*\]|.", pattern, re.DOTALL):
        if part == "**/":
            found.append("(?:.*/)?")
        elif part[0] == "*":
            found.append("[^/]*")
        elif part == "?":
            found.append("[^/]")
        elif len(part) > 1:
            inner = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            found.append(f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]")
        else:
            found.append(re.escape(part) if part not in "/=_" else part)
    return f"^{''.join(found)}$"


def _of_storage(url: str) -> Place:
    """A storage; a password of a server stands beside the URL in a config."""
    login = _LOGIN.match(url)
    user, colon, password = (login.group(2) if login else "").partition(":")
    scheme = url.partition("://")[0]
    if login and scheme in ("ftp", "ftps", "sftp", "hdfs"):
        url = f"{login.group(1)}{user + '@' if user else ''}{url[login.end() :]}"
    elif colon:
        raise ConfigError(
            f"--from: {scheme}:// has no place for a key or a password; give them in environment variables, "
            f"which `exporters-beam modules {scheme}` names"
        )
    pattern = None
    rest = url.partition("://")[2]
    if _SIGNS & set(rest):
        url = f"{scheme}://{_divided(rest)[0]}/"
        pattern = f"(?:^|/){_expression(rest.partition('/')[2])[1:]}"
    try:
        name, options = section_of("reader", url) or ("", {})
    except ConfigError as error:
        raise ConfigError(f"--from: {str(error).removeprefix('name: ')}") from None
    if pattern:
        options["pattern"] = pattern
    written, secrets = literal(dict(options)), {}
    if colon:
        option = f"{name}_password"
        if option not in {each.name for each in options_of(registry.load(registry.find("reader", name)))}:
            raise ConfigError(f"--from: the URL has a password in it, and the reader {name} takes none")
        reference = f"${{secret:env:{option.upper()}}}"
        options[option], written[option], secrets[reference] = unquote(password), reference, unquote(password)
    return Place(name, written, options, secrets)


def _of_web(url: str) -> Place:
    url = url.partition("#")[0]
    try:
        if not urlsplit(url).hostname:
            raise ValueError("it names no server")
        urlsplit(url).port  # noqa: B018
    except ValueError as error:
        raise ConfigError(f"--from: this is not a URL: {error}") from None
    secrets: dict[str, str] = {}
    written = ""
    at = 0
    for start, end, name in _secrets_in(url):
        reference = f"${{secret:env:{_fresh(name, secrets)}}}"
        secrets[reference] = url[start:end]
        written += literal(url[at:start]) + reference
        at = end
    return Place("http", {"input": written + literal(url[at:])}, {"input": url}, secrets)


def _secrets_in(url: str) -> Iterator[tuple[int, int, str]]:
    """What may be secret in a URL, from where to where, and a name for each."""
    login = _LOGIN.match(url)
    if login:
        start = login.start(2)
        user, colon, _ = login.group(2).partition(":")
        if user:
            yield start, start + len(user), "HTTP_USER"
        if colon and start + len(user) + 1 < login.end(2):
            yield start + len(user) + 1, login.end(2), "HTTP_PASSWORD"
    for match in re.finditer(r"(?<=[?&;])([^=&;]*)(=?)([^&;]*)", url[url.find("?") :] if "?" in url else ""):
        name, given, value = match.groups()
        start = url.find("?") + match.start(3 if given else 1)
        if not given and name:
            yield start, start + len(name), "URL_QUERY"
        elif value and unquote(name).lower() not in _HARMLESS:
            yield start, start + len(value), "URL_" + re.sub(r"\W+|_+", "_", unquote(name), flags=re.ASCII).strip("_").upper()


def _fresh(name: str, used: dict[str, str]) -> str:
    name = name.rstrip("_")
    known, n = name, 1
    while f"${{secret:env:{known}}}" in used:
        n += 1
        known = f"{name}_{n}"
    return known
