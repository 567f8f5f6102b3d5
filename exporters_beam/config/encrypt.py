"""`encrypt`: files that only their recipients can read."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.components.options import option
from exporters_beam.components.pgp import PRIVATE
from exporters_beam.components.secret import Secret
from exporters_beam.components.words import in_json
from exporters_beam.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Encrypt:
    """Encrypt each file with OpenPGP before it is delivered: the section `encrypt`. The extra `pgp` is needed."""

    pgp: tuple[str, ...] = option("public keys of all who may read the files: paths of key files, or keys in ASCII armour",
                                  type="str_list", example=["keys/customer.asc"])  # fmt: skip
    ending: str = option("what is added to the names of files", default=".pgp", example=".gpg")

    def __post_init__(self) -> None:
        if not self.pgp:
            raise ConfigError("pgp: give at least one public key")
        for at, key in enumerate(self.pgp):
            if not key.strip():
                raise ConfigError(f"pgp[{at}]: this is neither the path of a public key nor one in ASCII armour")
            if PRIVATE in key and not isinstance(key, Secret):
                raise ConfigError(f"pgp[{at}]: this is a private key, which belongs to its owner alone; take it out of here, "
                                  "and give the public one, as gpg --armor --export writes it")  # fmt: skip
        if len(self.ending) < 2 or self.ending[0] != "." or set(self.ending) & set("/\\{}%") or not self.ending.isprintable():
            raise ConfigError(f"ending: {in_json(self.ending, 40)} does not end a name; give a dot and more, as .pgp")
