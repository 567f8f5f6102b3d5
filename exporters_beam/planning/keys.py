"""The public keys of `encrypt`, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporters_beam.components.pgp import Recipients, certificate, content
from exporters_beam.components.secret import Secret, reveal
from exporters_beam.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def recipients_of(spec: ExportSpec) -> Recipients | None:
    """To whom files are encrypted, with the contents of key files, as workers get them. Raises ConfigError."""
    if spec.encrypt is None:
        return None
    return Recipients(spec.encrypt.pgp, spec.encrypt.ending).with_files()


def check_keys(spec: ExportSpec, resolving: bool = False) -> None:
    """Look at every key. Those that are secrets are looked at where these are `resolving`, and where they can be had here: only
    workers may have them. Raises ConfigError with every key to which nothing can be encrypted."""
    problems = []
    for at, key in enumerate(spec.encrypt.pgp if spec.encrypt is not None else ()):
        if isinstance(key, Secret):
            try:
                key = reveal(key) if resolving else ""
            except ConfigError:
                continue
        if not key:
            continue
        try:
            certificate(content(key))
        except MissingExtra as error:
            raise ConfigError(spec.problem(spec.encrypt_at, str(error))) from None
        except ConfigError as error:
            problems.append(spec.problem((*spec.encrypt_at, "pgp", at), str(error)))
    if problems:
        raise ConfigError(*problems)
