"""Secrets: references in a config, resolved on workers, hidden in everything that is told."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote

from exporters_beam.errors import ConfigError, MissingExtra

T = TypeVar("T")

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")


class Secret(str):
    """A text of a config that refers to secrets. As text, in a repr, as JSON and pickled it is the reference.

    >>> Secret("${secret:env:PASSWORD}").resolve({"PASSWORD": "s3same"})
    's3same'
    """

    __slots__ = ()

    def resolve(self, environ: Mapping[str, str] | None = None) -> str:
        """The text with the secrets in it. Call it where they are used: on the worker. Raises ConfigError."""
        values = os.environ if environ is None else environ

        def one(match: re.Match[str]) -> str:
            if match.group(1) is None:
                return "${"
            return _remember(_secret(match.group(1), values), match.group())

        return _REFERENCE.sub(one, self)


class Given(dict[str, str]):
    """An environment without services: environment variables by name, and values for other secrets, as `gcp:NAME`."""


_revealed: dict[str, str] = {}
"""The secrets that this process has resolved, and their references."""


def hide(text: str) -> str:
    """The text with references in place of all secrets that this process has resolved.

    It is for texts that others made: errors of client libraries, tracebacks. Secrets of fewer than four characters
    stay, since they may be parts of ordinary words.
    """
    for value in sorted(_revealed, key=len, reverse=True):
        if value in text:
            text = text.replace(value, _revealed[value])
    return without_credentials(text)


def references(secret: Secret) -> Iterator[tuple[str, str]]:
    """The references in a text, each with its secret. Raises ConfigError where one cannot be had here."""
    for match in _REFERENCE.finditer(secret):
        if match.group(1) is not None:
            yield match.group(), _secret(match.group(1), os.environ)


_LOGIN = re.compile(r"(://)([^/\s?#@\"'<>]+)(@)")

_PARAMETER = re.compile(r"([?&;#][^=&;#\s?]{1,80}=)([^&;#\s\"'<>]+)()")

_TELLTALE = re.compile(
    r"token|secret|signature|passw|credential|session|jwt|auth|(api|access|account|subscription|shared).?key|"
    r"[?&;#](x-amz-.*|x-goog-.*|sig|sas|key|code|pass|pwd|pw|hmac|ticket)=",
    re.IGNORECASE,
)
"""What parameters of URLs are called that hold secrets: those of signed URLs of S3, Google Cloud Storage and Azure among
them, whose other parts are of no use to a reader either."""


def credentials(text: str) -> Iterator[tuple[str, str, str]]:
    """The passwords and tokens in the URLs of a text, each with what stands before and behind it; not the references.

    >>> list(credentials("see https://me:5ecret@a.org/b?page=2&api_key=abc#x"))
    [('://me:', '5ecret', '@'), ('&api_key=', 'abc', '')]
    """
    if "=" not in text and "://" not in text:
        return
    for match in (*_LOGIN.finditer(text), *_PARAMETER.finditer(text)):
        before, secret, after = match.groups()
        if after == "@":
            user, colon, password = secret.partition(":")
            if not colon and not re.search(r"https?\Z", text[: match.start()], re.IGNORECASE):
                continue  # A server's user, who is no secret; of a web server it may be a token.
            before, secret = f"{before}{user}{colon}" if colon else before, password if colon else user
        elif not _TELLTALE.search(unquote(before)):
            continue
        if secret and not secret.startswith(("${", "***")):
            yield before, secret, after


def without_credentials(text: str) -> str:
    """The text with `***` in place of passwords and tokens in its URLs.

    >>> without_credentials("sftp://me:5ecret@a.org/b, https://a.org/c?token=abc&page=2")
    'sftp://me:***@a.org/b, https://a.org/c?token=***&page=2'
    """
    for before, secret, after in credentials(text):
        text = text.replace(f"{before}{secret}{after}", f"{before}***{after}")
    return text


def _remember(value: str, reference: str) -> str:
    if len(value) >= 4:
        for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe=""), quote_plus(value)):
            _revealed[form] = reference
    return value


def _secret(reference: str, environ: Mapping[str, str]) -> str:
    _, store, name = reference.split(":", 2)
    if isinstance(environ, Given):
        return _given(store, name, environ)
    if store == "env":
        if not environ.get(name):
            raise ConfigError(f"${{{reference}}}: the environment variable {name} is not set where the export runs")
        return environ[name]
    if store == "file":
        try:
            with open(name, encoding="utf-8") as stream:
                return re.sub(r"\r?\n\Z", "", stream.read())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"${{{reference}}}: the file cannot be read where the export runs: {reason}") from None
    from exporters_beam.components.secret_services import read

    found = read(store, name)
    if not found:
        raise ConfigError(f"${{{reference}}}: the secret is empty")
    return found


def _given(store: str, name: str, environ: Given) -> str:
    key = name if store == "env" else f"{store}:{name}"
    if environ.get(key):
        return environ[key]
    if store == "env":
        raise ConfigError(f"${{secret:env:{name}}}: the environment variable {name} is not set; give the test a value for it: "
                          f"env: {{{name}: …}}")  # fmt: skip
    raise ConfigError(f'${{secret:{key}}}: tests do not fetch secrets; give the test a value for it: secrets: {{"{key}": …}}')


def reveal(value: T, environ: Mapping[str, str] | None = None) -> T:
    """The value with its secrets resolved: a text, a container, or a component (which checks its options again)."""
    found: Any = value
    if isinstance(value, Secret):
        found = value.resolve(environ)
    elif isinstance(value, dict):
        found = {key: reveal(member, environ) for key, member in value.items()}
    elif isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        found = type(value)(reveal(member, environ) for member in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        changed = {name: _of_option(name, member, environ) for name, member in given.items() if holds_secret(member)}
        found = dataclasses.replace(value, **changed) if changed else value
    return found


def _of_option(name: str, value: object, environ: Mapping[str, str] | None) -> Any:
    try:
        return reveal(value, environ)
    except MissingExtra as error:
        raise MissingExtra(f"option {name}: {error.what}", error.extra) from None
    except ConfigError as error:
        raise ConfigError(f"option {name}: {error}") from None


def holds_secret(value: object) -> bool:
    """Whether a secret reference stands anywhere in an option's value."""
    if isinstance(value, Mapping):
        return any(holds_secret(member) for member in value.values())
    return isinstance(value, Secret) or (isinstance(value, (list, tuple)) and any(map(holds_secret, value)))
