"""Public keys of OpenPGP, and encrypting files to them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

from exporters_beam.components.secret import Secret, reveal
from exporters_beam.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from pysequoia import Cert
    from pysequoia.packet import Packet

ARMOUR = "-----BEGIN PGP "
"""How a key in ASCII armour begins."""

PRIVATE = "PRIVATE KEY BLOCK-----"
"""What stands in the first line of a private one."""


@dataclass(frozen=True)
class Recipients:
    """Who may read what is delivered: public keys, which stand in ASCII armour, in bytes, or in the file of that path; and the
    `ending` of names of what is encrypted."""

    keys: tuple[str | bytes, ...]
    ending: str = ".pgp"

    def with_files(self) -> Recipients:
        """The same with the contents of key files in the place of their paths, so that workers need not have these. What
        secrets hold stays a reference. Raises ConfigError where one cannot be read."""
        return replace(self, keys=tuple(key if isinstance(key, Secret) else content(key) for key in self.keys))

    def certificates(self) -> list[Cert]:
        """The keys, on the worker that encrypts to them. Raises ConfigError for one to which nothing can be encrypted."""
        found = []
        for at, key in enumerate(self.keys):
            try:
                found.append(certificate(content(reveal(key))))
            except MissingExtra:
                raise
            except ConfigError as error:
                raise ConfigError(f"encrypt.pgp[{at}]: {error}") from None
        return found


def content(key: str | bytes) -> bytes:
    """The bytes of a key that is given in ASCII armour or by its path. Raises ConfigError where it cannot be read."""
    if isinstance(key, bytes):
        return key
    if key.lstrip().startswith(ARMOUR):
        return key.strip().encode()
    try:
        with open(os.path.expanduser(key), "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        named = "what the secret holds" if "\n" in key or len(key) > 200 else key
        raise ConfigError(f"{named}: the public key cannot be read: {getattr(error, 'strerror', None) or 'no path'}") from None


def certificate(data: bytes) -> Cert:
    """The public key in these bytes, with those of its subkeys that are valid now. Raises ConfigError, in whose message no part
    of a key stands, where it is none, private, expired, revoked, or cannot encrypt."""
    try:
        from pysequoia import Cert, encrypt
        from pysequoia.packet import PacketPile, Tag
    except ImportError:
        raise MissingExtra("encrypt", "pgp") from None
    try:
        private = any(packet.tag in (Tag.SecretKey, Tag.SecretSubkey) for packet in PacketPile.from_bytes(data))
        found = [] if private else Cert.split_bytes(data)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"this is not a public key of OpenPGP ({_first_line(error)}); give one as gpg --export "
                          "writes it") from None  # fmt: skip
    if private:
        raise ConfigError(
            "this is a private key, which belongs to its owner alone; give the public one, as gpg --export writes it"
        )
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} public keys are in it; give each an entry of its own" if found else "no public key is in it"
        )
    key, now = found[0], datetime.now(timezone.utc)
    name = named(key)
    if key.is_revoked:
        raise ConfigError(f"the key {name} was revoked by its owner; ask for the new one")
    if key.expiration is not None and key.expiration <= now:
        raise ConfigError(f"the key {name} expired on {key.expiration:%Y-%m-%d}; ask for the new one, or for the renewed key")
    try:
        usable = Cert.from_packets([*_usable([*PacketPile.from_bytes(bytes(key))], now)])
        encrypt(b"", recipients=[usable], armor=False)
    except RuntimeError:
        raise ConfigError(f"nothing can be encrypted to the key {name}: it has no part for that, or that has expired or was "
                          "revoked; ask for another one") from None  # fmt: skip
    return usable


def named(key: Cert) -> str:
    """What people call a key: its fingerprint, and whose it is."""
    users = [str(user) for user in key.user_ids]
    return f"{key.fingerprint.upper()}{f' ({users[0]})' if users else ''}"


def _usable(packets: Sequence[Packet], now: datetime) -> Iterator[Packet]:
    """The packets of a key without subkeys that have expired or were revoked: the library would encrypt to them."""
    from pysequoia.packet import SignatureType, Tag

    starts = [*(at for at, packet in enumerate(packets) if packet.tag == Tag.PublicSubkey), len(packets)]
    yield from packets[: starts[0]]
    for start, end in pairwise(starts):
        created, signatures = packets[start].key_created, packets[start + 1 : end]
        if created is None or any(each.signature_type == SignatureType.SubkeyRevocation for each in signatures):
            continue
        bindings = [each for each in signatures if each.signature_type == SignatureType.SubkeyBinding]
        latest = max(bindings, key=lambda each: each.signature_created or created, default=None)
        period = latest.key_validity_period if latest is not None else None
        if not period or created + period > now:
            yield from packets[start:end]


def fingerprint_of(keys: Sequence[Cert]) -> str:
    """What tells these keys, as they are, from others."""
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(bytes(key)).digest() for key in keys))).hexdigest()


def encrypt_file(source: str, target: str, keys: Sequence[Cert]) -> None:
    """Encrypt a file to all of these keys, a part of it in memory at a time. Raises OSError."""
    from pysequoia import encrypt_file

    try:
        encrypt_file(source, target, recipients=list(keys), armor=False)
    except RuntimeError as error:
        raise OSError(None, f"encrypting failed: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """What a library says, without its own stack."""
    return str(error).partition("\n")[0][:200]
