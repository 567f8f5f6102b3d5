"""The `persistence` section of old configs: accepted, and answered with a warning, `note`, of what replaces it.

State is no database any more. What a run has staged at the destination is the only state, and `--resume` goes on
with it. `PicklePersistence` still says in which folder that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.components.options import option

_NO_DATABASE = (
    "no database keeps the state of an export any more: what is staged at the destination (or in `staging`) is the "
    "state, and `exporters-beam run CONFIG --resume` goes on with it"
)


@dataclass(frozen=True, kw_only=True)
class PicklePersistence:
    """Say in which folder an export stages its files, so that it can be resumed there.

    The old name stays; nothing is pickled. The folder is made when it is missing. Without this section staging
    stands at the destination. On Flink with `--streaming` checkpoints stand in that folder too.

    Example:
        persistence:
          name: pickle
          options: {file_path: state, checkpoint_seconds: 30}
    """

    kind: ClassVar[str] = "persistence"
    note: ClassVar[str] = (
        "`file_path` is the folder for staged files, as `staging` is; `exporters-beam run CONFIG --resume` goes on "
        "with what stands there"
    )

    file_path: str = option("folder for staged files, checkpoints and the manifest", default=".", example="state")
    checkpoint_seconds: int = option("on Flink with --streaming: seconds between checkpoints", type="int", default=10,
                                     minimum=1)  # fmt: skip
    savepoint: str = option("on Flink with --streaming: savepoint or checkpoint that the export begins from; --resume finds "
                            "the newest checkpoint by itself", type="str", default="",
                            example="file:///state/savepoint-1")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MysqlPersistence:
    """Accepted for old configs; it does nothing. Use `staging` and `--resume`.

    Example:
        persistence:
          name: mysql
          options: {user: me, password: '${secret:env:DB_PASSWORD}', host: localhost, port: 3306, database: jobs}
    """

    kind: ClassVar[str] = "persistence"
    note: ClassVar[str] = _NO_DATABASE

    user: str = option("not used")
    password: str = option("not used", secret=True)
    host: str = option("not used")
    port: int = option("not used", type="int")
    database: str = option("not used")


@dataclass(frozen=True, kw_only=True)
class PostgresqlPersistence(MysqlPersistence):
    """Accepted for old configs; it does nothing. Use `staging` and `--resume`.

    Example:
        persistence:
          name: postgresql
          options: {user: me, password: '${secret:env:DB_PASSWORD}', host: localhost, port: 5432, database: jobs}
    """


@dataclass(frozen=True, kw_only=True)
class SqlitePersistence:
    """Accepted for old configs; it does nothing. Use `staging` and `--resume`.

    Example:
        persistence:
          name: sqlite
          options: {database: jobs.db}
    """

    kind: ClassVar[str] = "persistence"
    note: ClassVar[str] = _NO_DATABASE

    database: str = option("not used")
    user: str = option("not used", default="")
    password: str = option("not used", default="", secret=True)
    host: str = option("not used", default="")
    port: int | None = option("not used", type="int|str", default="")
