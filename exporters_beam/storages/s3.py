"""Amazon S3 and what speaks its protocol, through boto3."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.names import FileNames
from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.records import PlannedFile
from exporters_beam.storages.base import (
    ATTEMPTS,
    SILENCE,
    ClientStorage,
    Content,
    NotThere,
    Storage,
    StorageError,
    Stored,
    answer,
    arrived,
    changed,
    client,
    each_page,
    is_bookkeeping,
)
from exporters_beam.storages.dates import days
from exporters_beam.storages.ranged import Ranged, buffered
from exporters_beam.storages.reader import EmptiedReader, as_tuple, text_of
from exporters_beam.storages.writer import RemoteWriter

PART_BYTES = 50 << 20
"""Larger objects are uploaded in parts of this size, or of a larger one where there would be more than 10,000 parts."""

MAX_PARTS = 10_000

COPY_BYTES = 5 << 30
"""The largest object that one request copies."""

COPY_PART_BYTES = 1 << 30
"""Larger ones are copied in parts of this size."""

_WITHOUT_ACL = (
    "AccessDenied",
    "AccessControlListNotSupported",
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidArgument",
)

_TO_BLAME = {
    "NoSuchBucket": ("bucket", "there is no bucket {bucket!r}"),
    "InvalidBucketName": ("bucket", "{bucket!r} is not a valid name of a bucket"),
    "InvalidAccessKeyId": ("aws_access_key_id", "the server does not know this key"),
    "SignatureDoesNotMatch": ("aws_secret_access_key", "the secret does not belong to the key"),
    "ExpiredToken": ("aws_session_token", "the credentials have expired"),
    "ExpiredTokenException": ("aws_session_token", "the credentials have expired"),
    "InvalidToken": ("aws_session_token", "the server does not take this token"),
    "AccessDenied": ("bucket", "no permission in the bucket {bucket!r}"),
    "401": ("aws_access_key_id", "the server does not take the credentials"),
    "403": ("bucket", "no permission in the bucket {bucket!r}"),
    "AllAccessDisabled": ("bucket", "no permission in the bucket {bucket!r}"),
    "PermanentRedirect": ("aws_region", "the bucket {bucket!r} is in another region"),
    "301": ("aws_region", "the bucket {bucket!r} is in another region"),
    "AuthorizationHeaderMalformed": ("aws_region", "the bucket {bucket!r} is in another region"),
    "RequestTimeTooSkewed": ("", "the clock of this machine is wrong"),
    "InvalidStorageClass": ("storage_class", "the server does not know it"),
}
"""Error codes of S3: the option that is to blame, and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class S3Storage(ClientStorage):
    """One bucket. Without keys the usual places are asked: environment, profile, role of the machine."""

    bucket: str
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    region: str | None = None
    host: str | None = None
    acl: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    storage_class: str | None = None
    attempts: int = ATTEMPTS
    part_bytes: int = PART_BYTES

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        bucket, _, name = url.removeprefix("s3://").partition("/")
        environ = os.environ
        return cls(
            bucket=bucket,
            key=environ.get("EXPORTERS_S3WRITER_AWS_LOGIN") or environ.get("EXPORTERS_S3READER_AWS_KEY"),
            secret=environ.get("EXPORTERS_S3WRITER_AWS_SECRET") or environ.get("EXPORTERS_S3READER_AWS_SECRET"),
        ), name

    def _connect(self) -> Any:
        boto3 = client("boto3", "the storage s3", "s3")
        config = client("botocore.config", "the storage s3", "s3").Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": max(1, self.attempts)},
            s3={"addressing_style": "path" if self.host or "." in self.bucket else "auto"},
            connect_timeout=10,
            read_timeout=SILENCE,
        )
        with self._answers(self.bucket):
            session = boto3.session.Session()
            return session.client(
                "s3",
                aws_access_key_id=self.key or None,
                aws_secret_access_key=self.secret or None,
                aws_session_token=self.token or None,
                region_name=self.region or session.region_name or "us-east-1",
                endpoint_url=_endpoint(self.host),
                config=config,
            )

    def url(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def names(self, prefix: str) -> Iterator[Stored]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for found in each_page(lambda: self._answers(prefix), iter(pages), lambda page: page.get("Contents", ())):
            name = found["Key"]
            if not is_bookkeeping(name) and not (name.endswith("/") and not found["Size"]):
                yield Stored(name, found["Size"], found.get("ETag", "").strip('"'))

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            found = self.client.head_object(Bucket=self.bucket, Key=name)
        etag = found.get("ETag", "").strip('"')
        plain = len(etag) == 32 and found.get("ServerSideEncryption", "AES256") == "AES256"
        plain = plain and "SSECustomerAlgorithm" not in found
        return Stored(name, found["ContentLength"], etag, etag if plain else "", found.get("Metadata") or {})

    def open(self, found: Stored) -> BinaryIO:
        broken = client("botocore.exceptions", "the storage s3", "s3")
        errors = (broken.IncompleteReadError, broken.ReadTimeoutError, broken.ResponseStreamingError, ConnectionError)
        return buffered(Ranged(found.size, lambda start: self._body(found, start), errors, self.attempts))

    def _body(self, found: Stored, start: int) -> Any:
        ranged = {"Range": f"bytes={start}-"} if start else {}
        same = {"IfMatch": f'"{found.etag}"'} if found.etag else {}
        with self._answers(found.name):
            given = self.client.get_object(Bucket=self.bucket, Key=found.name, **same, **ranged)
        if found.etag and given.get("ETag", "").strip('"') != found.etag:  # Some servers do not know of conditions.
            given["Body"].close()
            raise changed(self.url(found.name))
        return given["Body"]

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        with self._answers(name):
            try:
                return self._put(name, file, content, self.acl)
            except client("botocore.exceptions", "the storage s3", "s3").ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if not self.acl or code not in _WITHOUT_ACL:
                    raise
            found = self._put(name, file, content, None)
            logging.getLogger("exporters_beam").warning(
                f"{self.url(name)}: delivered without the ACL {self.acl}: the server said {code}"
            )
            return found

    def _put(self, name: str, file: BinaryIO, content: Content, acl: str | None) -> Stored:
        about: dict[str, Any] = {"Bucket": self.bucket, "Key": name}
        more = {
            "ACL": acl,
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
        }
        about |= {key: value for key, value in more.items() if value}
        about["Metadata"] = {key: str(value) for key, value in content.metadata.items()}
        file.seek(0)
        if content.size > self.part_bytes:
            self._in_parts(about, file, content)
        else:
            digest = base64.b64encode(binascii.unhexlify(content.md5)).decode()
            self.client.put_object(**about, Body=file, ContentLength=content.size, ContentMD5=digest)
        return arrived(self.url(name), self.stat(name), content)

    def _in_parts(self, about: dict[str, object], file: BinaryIO, content: Content) -> None:
        """Multipart upload: the object appears when it is completed. What was sent of a failed one is given up."""
        place = {"Bucket": about["Bucket"], "Key": about["Key"]}
        upload = self.client.create_multipart_upload(**about)["UploadId"]
        size = max(self.part_bytes, -(-content.size // MAX_PARTS))
        parts: list[dict[str, Any]] = []
        try:
            for start in range(0, content.size, size):
                part = Part(file, start, min(size, content.size - start))
                sent = self.client.upload_part(
                    **place,
                    UploadId=upload,
                    PartNumber=len(parts) + 1,
                    Body=part,
                    ContentLength=part.size,
                    ContentMD5=part.md5(),
                )
                parts.append({"PartNumber": len(parts) + 1, "ETag": sent["ETag"]})
            self._complete(place, upload, parts)
        except BaseException:
            with suppress(Exception):
                self.client.abort_multipart_upload(**place, UploadId=upload)
            raise

    def _complete(self, place: dict[str, object], upload: str, parts: list[dict[str, object]]) -> None:
        """Where the answer got lost and the client asked again, there is no such upload any more, but the object."""
        try:
            self.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
        except client("botocore.exceptions", "the storage s3", "s3").ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchUpload":
                raise
            if self.client.head_object(**place).get("ETag", "").strip('"') != _etag_of(parts):
                raise

    def beside(self, source: Storage) -> bool:
        """Whether objects of a storage can be copied here inside the service."""
        return isinstance(source, S3Storage) and source.host == self.host

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy an object inside the service; None where that cannot be done and it has to be streamed."""
        if not (isinstance(source, S3Storage) and self.beside(source)):
            return None
        more = {"ACL": self.acl, "ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key,
                "StorageClass": self.storage_class}  # fmt: skip
        about = {"Bucket": self.bucket, "Key": name, **{key: value for key, value in more.items() if value}}
        given: dict[str, Any] = {"CopySource": {"Bucket": source.bucket, "Key": found.name}}
        if found.etag:
            given["CopySourceIfMatch"] = f'"{found.etag}"'
        errors = client("botocore.exceptions", "the storage s3", "s3")
        with self._answers(name):
            try:
                if found.size > COPY_BYTES:
                    self._copy_in_parts(about, given, found)
                else:
                    self.client.copy_object(**about, **given)
            except errors.ClientError as error:
                if error.response.get("Error", {}).get("Code") == "PreconditionFailed":
                    raise changed(source.url(found.name)) from None
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
                if status == 501 or (status < 500 and status not in (408, 429)):  # It is refused, not a fault.
                    return None
                raise
        there = self.stat(name)
        comparable = len(found.etag) == 32 and len(there.etag) == 32 and there.md5
        if there.size != found.size or (comparable and there.etag != found.etag):
            raise StorageError("", f"the copy {self.url(name)} is not what {source.url(found.name)} is")
        return there

    def _copy_in_parts(self, about: dict[str, Any], given: dict[str, object], found: Stored) -> None:
        place = {"Bucket": about["Bucket"], "Key": about["Key"]}
        upload = self.client.create_multipart_upload(**about, Metadata=dict(found.metadata))["UploadId"]
        size = max(COPY_PART_BYTES, -(-found.size // MAX_PARTS))
        parts: list[dict[str, Any]] = []
        try:
            for start in range(0, found.size, size):
                stop = min(found.size, start + size)
                copied = self.client.upload_part_copy(**place, **given, UploadId=upload, PartNumber=len(parts) + 1,
                                                      CopySourceRange=f"bytes={start}-{stop - 1}")  # fmt: skip
                parts.append({"PartNumber": len(parts) + 1, "ETag": copied["CopyPartResult"]["ETag"]})
            self._complete(place, upload, parts)
        except BaseException:
            with suppress(Exception):
                self.client.abort_multipart_upload(**place, UploadId=upload)
            raise

    def delete(self, name: str) -> None:
        with self._answers(name):
            self.client.delete_object(Bucket=self.bucket, Key=name)

    def probe(self) -> None:
        """A key that may not list the bucket may still put objects there: that is left to the first upload."""
        errors = client("botocore.exceptions", "the storage s3", "s3")
        try:
            with self._answers(""):
                self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
        except StorageError as error:
            cause = error.__cause__
            code = cause.response["Error"]["Code"] if isinstance(cause, errors.ClientError) else ""
            if code not in ("AccessDenied", "403", "AllAccessDisabled"):
                raise

    @contextmanager
    def _answers(self, name: str) -> Iterator[None]:
        """Turns what boto3 raises into StorageError."""
        errors = client("botocore.exceptions", "the storage s3", "s3")
        try:
            yield
        except ConfigError:
            raise
        except errors.ClientError as error:
            said = error.response.get("Error", {})
            code, text = str(said.get("Code", "")), answer(str(said.get("Message", "")))
            if code in ("NoSuchKey", "404", "NotFound"):
                raise NotThere("", f"there is no object {self.url(name)}") from error
            if code in ("PreconditionFailed", "412"):
                raise changed(self.url(name)) from error
            option, what = _TO_BLAME.get(code, ("", "the server refused"))
            what = what.format(bucket=self.bucket)
            raise StorageError(option, f"{what} (the server said {code}{': ' if text else ''}{text})") from error
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as error:
            raise StorageError(
                "aws_access_key_id", "no credentials were given, and none are in the environment or a profile"
            ) from error
        except errors.EndpointConnectionError as error:
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})") from error
        except errors.ParamValidationError as error:
            raise StorageError("bucket", answer(str(error))) from error
        except (errors.BotoCoreError, ValueError) as error:
            raise StorageError("", answer(str(error))) from error


class Part(io.RawIOBase):
    """A part of a file as a file, so that parts need no memory."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self.size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self.size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def md5(self) -> str:
        """As the header Content-MD5 has it."""
        digest = hashlib.md5(usedforsecurity=False)
        self.seek(0)
        while data := self.read(1 << 20):
            digest.update(data)
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()


def _etag_of(parts: list[dict[str, Any]]) -> str:
    """The ETag of an object that was uploaded in parts, where theirs are MD5s; "" where they are not."""
    try:
        digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
    except ValueError:
        return ""
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _endpoint(host: str | None) -> str | None:
    if not host:
        return None
    return host if "://" in host else f"https://{host}"


def check_keys(key: object, secret: object, token: object) -> None:
    """Raises ConfigError where only a part of the credentials is given."""
    for name, given, other in (
        ("aws_access_key_id", key, secret or token),
        ("aws_secret_access_key", secret, key or token),
    ):
        if other and not given:
            raise ConfigError(f"{name}: it is missing; give aws_access_key_id and aws_secret_access_key, or neither")


def bucket_name(given: str, scheme: str = "s3") -> str:
    """A bucket as configs have it: `s3://name/` is `name`.

    >>> bucket_name("s3://name/")
    'name'
    """
    return given.removeprefix(f"{scheme}://").partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class S3Reader(EmptiedReader):
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
        from exporters_beam.components.names import expand_dates

        return tuple(
            expand_dates(prefix, datetime.combine(day, now.time() if day == now.date() else datetime.min.time()))
            for day in found
            for prefix in prefixes
        )


@dataclass(frozen=True, kw_only=True)
class S3Writer(RemoteWriter):
    """Deliver files to an S3 bucket, or to a server that speaks its protocol.

    A file is built on the worker and uploaded: in one request, or in parts where it is larger than 50 MiB. It appears
    whole or not at all; size and MD5 are checked against what was sent, part by part. Objects of the same name are
    replaced. Beside the files only `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest
    that `--resume` needs stay on this machine, in the folder of `staging`.

    `save_pointer` names an object that gets, when all is delivered, the folder part of `filebase` with dates filled in.
    `save_metadata` attaches `total` (records) and `md5` to each object. Without keys the usual places are asked:
    environment, profile, role of the machine. Needs the extra `s3`.

    Example:
        writer:
          name: s3
          options: {bucket: products, filebase: 'dumps/%Y-%m-%d/part-', save_pointer: dumps/LAST}
    """

    takes_copies: ClassVar[bool | str] = True

    bucket: str = option("name of the bucket; s3://name/ is taken too", type="str", example="products")
    aws_access_key_id: str | None = option("key; without it the environment or profile is asked", type="str",
                                           default=None, env="EXPORTERS_S3WRITER_AWS_LOGIN", secret=True)  # fmt: skip
    aws_secret_access_key: str | None = option("its secret", type="str", default=None,
                                               env="EXPORTERS_S3WRITER_AWS_SECRET", secret=True)  # fmt: skip
    aws_session_token: str | None = option("token of temporary credentials", type="str", default=None, secret=True)
    aws_region: str | None = option("region of the bucket; by default it is asked for", type="str", default=None)
    host: str | None = option("another server than Amazon's, e.g. http://localhost:9000", type="str", default=None)
    save_pointer: str | None = option("an object that gets the place of this export", type="str", default=None)
    save_metadata: bool = option("attach total (records) and md5 to each object", type="bool", default=True)
    acl: str = option("canned ACL of the objects, or none; delivered without it, with a warning, where it is refused",
                      type="str", default="bucket-owner-full-control")  # fmt: skip
    server_side_encryption: str | None = option("how the server encrypts: AES256 or aws:kms", type="str", default=None,
                                                choices=("AES256", "aws:kms"))  # fmt: skip
    sse_kms_key_id: str | None = option("the KMS key, with aws:kms", type="str", default=None)
    storage_class: str | None = option("storage class of the objects, e.g. STANDARD_IA", type="str", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_keys(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        if self.sse_kms_key_id and self.server_side_encryption != "aws:kms":
            raise ConfigError("sse_kms_key_id: it goes with server_side_encryption: aws:kms only")

    def connect(self) -> Storage:
        return S3Storage(
            bucket=bucket_name(self.bucket), key=self.aws_access_key_id, secret=self.aws_secret_access_key,
            token=self.aws_session_token, region=self.aws_region, host=self.host,
            acl=None if self.acl == "none" else self.acl, encryption=self.server_side_encryption,
            kms_key=self.sse_kms_key_id, storage_class=self.storage_class, attempts=self.attempts,
        )  # fmt: skip

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        if not self.save_metadata:
            return {}
        return {"total": str(file.records), "md5": md5} if file.records >= 0 else {"md5": md5}

    def finish(self, manifest: bytes, names: FileNames, export_id: str) -> None:
        super().finish(manifest, names, export_id)
        if self.save_pointer:
            self.put(self.save_pointer, self.key(names.filebase[: names.filebase.rfind("/") + 1]).encode())
