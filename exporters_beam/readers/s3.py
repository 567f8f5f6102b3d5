"""Objects of an S3 bucket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from exporters_beam.errors import ConfigError
from exporters_beam.options import option
from exporters_beam.readers.dates import days
from exporters_beam.readers.remote import RemoteReader, as_tuple, text_of
from exporters_beam.storages import Storage, StorageError
from exporters_beam.storages.s3 import S3Storage, bucket_name, check_keys


@dataclass(frozen=True, kw_only=True)
class S3Reader(RemoteReader):
    """Read the objects of an S3 bucket, or of a server that speaks its protocol, in the order of their names.

    `prefix` is one or several beginnings of names (empty: the whole bucket), `prefix_pointer` names an object that lists
    them, one a line. % directives in them are dates: of today, or of every day of `prefix_format_using_date` (one date, or
    the first and the last: 2016-01-31, yesterday, 3 days ago; write %% for a percent sign). `pattern` chooses among the
    names. Where nothing at all is found the export fails, unless `allow_empty` is given. An object that is replaced while
    the export runs ends it.

    Without keys the usual places are asked: environment, profile, role of the machine. `host` is another server than
    Amazon's, with or without `https://`. Needs the extra `s3`.

    Example:
        reader:
          name: s3
          options:
            bucket: products
            prefix: 'dumps/%Y-%m-%d/'
            prefix_format_using_date: [7 days ago, yesterday]
            pattern: '\\.jl\\.gz$'
    """

    bucket: str = option("name of the bucket; s3://name/ is taken too", type="str", example="products")
    aws_access_key_id: str | None = option("key; without it the environment or profile is asked", type="str",
                                           default=None, env="EXPORTERS_S3READER_AWS_KEY", secret=True)  # fmt: skip
    aws_secret_access_key: str | None = option("its secret", type="str", default=None,
                                               env="EXPORTERS_S3READER_AWS_SECRET", secret=True)  # fmt: skip
    aws_session_token: str | None = option("token of temporary credentials", type="str", default=None, secret=True)
    aws_region: str | None = option("region of the bucket; by default it is asked for", type="str", default=None)
    host: str | None = option("another server than Amazon's, e.g. http://localhost:9000", type="str", default=None)
    prefix: Any = option("beginnings of the names to read, one or several", type="str|str_list", default="")
    prefix_pointer: str | None = option("an object that lists prefixes, one a line", type="str", default=None)
    prefix_format_using_date: Any = option("a date, or the first and the last, for % directives in prefixes",
                                           type="str|str_list", default=None)  # fmt: skip
    now: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_keys(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        if self.prefix_pointer and any(as_tuple(self.prefix)):
            raise ConfigError("prefix_pointer: give either prefix or prefix_pointer, and not both")
        self._expanded(())

    def at(self, now: datetime) -> S3Reader:
        """The reader of an export that began then: dates stay those, also when it is resumed on another day."""
        return replace(self, now=now.isoformat())

    def connect(self) -> Storage:
        return S3Storage(
            bucket=bucket_name(self.bucket), key=self.aws_access_key_id, secret=self.aws_secret_access_key,
            token=self.aws_session_token, region=self.aws_region, host=self.host, attempts=self.attempts,
        )  # fmt: skip

    def places(self) -> Iterable[str]:
        return self._expanded(self._pointed() if self.prefix_pointer else as_tuple(self.prefix) or ("",))

    def _pointed(self) -> tuple[str, ...]:
        name = self.prefix_pointer or ""
        try:
            text = text_of(self.storage.open(self.storage.stat(name)))
        except StorageError as error:
            raise StorageError("prefix_pointer", f"{self.storage.url(name)} cannot be read: {error}") from error
        return tuple(line for line in text.replace("\r\n", "\n").split("\n") if line)

    def _expanded(self, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        now = datetime.fromisoformat(self.now) if self.now else datetime.now()
        try:
            found = days(self.prefix_format_using_date or "today", now)
        except ConfigError as error:
            raise ConfigError(f"prefix_format_using_date: {error}") from None
        from exporters_beam.naming import expand_dates

        return tuple(
            expand_dates(prefix, datetime.combine(day, now.time() if day == now.date() else datetime.min.time()))
            for day in found
            for prefix in prefixes
        )
