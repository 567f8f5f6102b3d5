"""Files as attachments of mails."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate
from typing import BinaryIO, ClassVar, TypeVar, cast

from exporters_beam.components.mails import ADDRESS
from exporters_beam.components.options import option
from exporters_beam.components.retry import persistently
from exporters_beam.components.secret import Secret
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.files import Measured, destination
from exporters_beam.records import MAILED, DeliveredFile, PlannedFile
from exporters_beam.staging.books import STAGED
from exporters_beam.staging.segments import Staging
from exporters_beam.writers.options import FileWriterOptions
from exporters_beam.writers.posts import PORTS, Post, Ses, Smtp, Trouble, bare

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 2.0, 10.0
"""Seconds between attempts, in which each wait is twice as long as the one before."""

NUMBER = "{file_number}"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MailWriter(FileWriterOptions):
    """Mail each file, as an attachment, to everybody in `emails`; each gets a mail of their own.

    With `host` mails go through a server that speaks SMTP, else through Amazon SES, for which the extra `ses` is needed.
    Before anything is read the server is asked whether it takes sender and recipients, and before the first mail the number of
    files is compared with `max_mails_sent`: where that is not enough, no mail is sent. A recipient that the server
    refuses ends the export. What may pass, such as a lost connection, is tried again, ten times within 74 seconds.

    Mails are sent at least once. What was accepted is noted in the books of the export, so that a run with `--resume`
    does not send it again; a mail whose acceptance was not heard is. All mails with the same file of the same export
    have the same Message-ID, by which mailboxes can tell that one is a repetition. A run without `--resume` sends all
    mails. The books stay on this machine, in the folder of `staging`.

    A file is closed at 6,000,000 bytes, so that its mail stays below 10,000,000, which SES takes. With `tls: none` the
    password crosses the network as it is.

    Example:
        writer:
          name: mail
          options:
            emails: [team@example.org]
            from: exports@example.org
            subject: Products of today
            filebase: 'products-%Y-%m-%d-'
            host: mail.example.org
            smtp_user: exports
            smtp_password: ${secret:env:MAIL_PASSWORD}
    """

    remote: ClassVar[bool] = True
    delivers: ClassVar[str] = "at least once"

    emails: tuple[str, ...] = option("addresses, each of which gets every file", type="str_list", example=["team@example.org"])
    subject: str = option("subject of the mails", example="Products of today")
    sender: str = option("the sender", name="from", env="EXPORTERS_MAIL_FROM", example="exports@example.org")
    max_mails_sent: int = option("most files that are mailed; an export of more fails", type="int", default=5, minimum=0)
    max_mail_bytes: int = option("most bytes of a mail, in which a file takes a third more than its size; 0: no limit",
                                 type="int", default=10_000_000, minimum=0)  # fmt: skip
    size_per_buffer_write: int = option("bytes at which a file is closed, as delivered; 0: no limit", type="int",
                                        default=6_000_000, minimum=0)  # fmt: skip
    filebase: str = option("name of the files, with % dates, {groups[0]} and {file_number}", type="str", default=NUMBER)
    file_name: str | None = option("how names of files begin, as in exporters 0.6.18, with % dates and {date}; the number "
                                   "follows", type="str", default=None)  # fmt: skip
    host: str | None = option("server of SMTP; without it Amazon SES", type="str", default=None, example="mail.example.org")
    port: int | None = option("its port; 587, with tls ssl 465, with none 25", type="int", default=None, minimum=1)
    tls: str = option("how the connection is encrypted: starttls, ssl (from the beginning) or none", type="str",
                      default="starttls", choices=("starttls", "ssl", "none"))  # fmt: skip
    ca_file: str | None = option("certificates to trust; by default the machine's", type="str", default=None)
    smtp_user: str | None = option("user of the server; without one: no login", type="str", default=None)
    smtp_password: str | None = option("password", type="str", default=None, secret=True)
    access_key: str | None = option("AWS access key; without it boto3 finds keys in its own ways", type="str", default=None,
                                    env="EXPORTERS_MAIL_AWS_ACCESS_KEY", secret=True)  # fmt: skip
    secret_key: str | None = option("AWS secret key", type="str", default=None, env="EXPORTERS_MAIL_AWS_SECRET_KEY",
                                    secret=True)  # fmt: skip
    attempts: int = field(default=10, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.emails:
            raise ConfigError("emails: give at least one address")
        for name, address in (*((f"emails[{at}]", each) for at, each in enumerate(self.emails)), ("from", self.sender)):
            if not isinstance(address, Secret) and not (ADDRESS.fullmatch(address) and ADDRESS.fullmatch(bare(address))):
                raise ConfigError(f"{name}: {address!r:.200} is not a mail address")
        for name in ("generate_md5", "replace"):
            if getattr(self, name):
                raise ConfigError(f"{name}: this does not go with mails; leave it out")
        for name in ("port", "ca_file", "smtp_user", "smtp_password"):
            if self.host is None and getattr(self, name) is not None:
                raise ConfigError(f"{name}: it is for a server of SMTP, which host names; without host mails go through SES")
        if self.smtp_password is not None and self.smtp_user is None:
            raise ConfigError("smtp_password: give smtp_user, too")
        if self.file_name is not None:
            filebase = _filebase(self.file_name)
            if self.filebase not in (NUMBER, filebase):
                raise ConfigError("file_name: give this or filebase, not both")
            object.__setattr__(self, "filebase", filebase)

    def probe(self) -> None:
        """Look before the work whether mails would be taken. Nothing is sent. Raises DestinationError."""
        with closing(self.connect()) as post:
            self._persistently("cannot mail", lambda: post.look(self.emails), 2)

    def admit(self, names: Sequence[str]) -> None:
        """Before the first mail. Raises DestinationError where more files were planned than may be mailed."""
        if len(names) > self.max_mails_sent:
            raise DestinationError(
                f"option max_mails_sent: {len(names):,} files would be mailed, and {self.max_mails_sent:,} may be; nothing was "
                "mailed; let files be larger or set it higher"
            )

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        half_built = os.path.join(scratch, uuid.uuid4().hex)
        try:
            with destination("cannot build a file in", scratch):
                os.makedirs(scratch, exist_ok=True)
                with open(half_built, "x+b", buffering=1 << 20) as out:
                    measured = Measured(out)
                    fill(cast(BinaryIO, measured))
                    out.seek(0)
                    content = out.read()
        finally:
            with suppress(OSError):
                os.remove(half_built)
        delivered = DeliveredFile(MAILED + file.name, file.group, file.records, measured.size, measured.md5())
        self._mail(delivered, content, os.path.dirname(scratch))
        return delivered

    def _mail(self, file: DeliveredFile, content: bytes, books: str) -> None:
        """To everybody who has not got it. Whether all are taken is asked before the first mail."""
        notes = Staging(os.path.join(books, STAGED))
        left = {address: _digest(file.name, address) for address in self.emails}
        left = {address: known for address, known in left.items() if not notes.is_handed_over(known)}
        if not left:
            return
        what = f"{file.name}: cannot mail it"
        message_id = f"<{_digest(os.path.basename(books), file.name, file.md5)}@{bare(self.sender).rpartition('@')[2]}>"
        with closing(self.connect()) as post:
            self._persistently(what, lambda: post.look([*left]), self.attempts)
            for address, known in left.items():
                message = self._message(file, content, address, message_id)
                if 0 < self.max_mail_bytes < len(message):
                    raise DestinationError(
                        f"{what}: option max_mail_bytes: the mail would have {len(message):,} bytes, and "
                        f"{self.max_mail_bytes:,} are allowed; set size_per_buffer_write lower, so that files are smaller"
                    )
                self._persistently(what, lambda: post.send(address, message), self.attempts)  # noqa: B023
                notes.note_handed_over(known)

    def _message(self, file: DeliveredFile, content: bytes, address: str, message_id: str) -> bytes:
        name = os.path.basename(file.name.removeprefix(MAILED))
        mail = EmailMessage()
        mail["Subject"] = " ".join(self.subject.split())
        mail["From"], mail["To"] = self.sender, address
        mail["Date"], mail["Message-ID"] = formatdate(), message_id
        mail.set_content(f"File name: {name}\nSize: {file.size} bytes\nNumber of records: {file.records}\n")
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
        ascii_only = (bare(self.sender) + bare(address)).isascii()
        return mail.as_bytes(policy=SMTP if ascii_only else SMTPUTF8)

    def connect(self) -> Post:
        """The way by which mails go, open when it is used."""
        if self.host is None:
            return Ses(self.sender, self.access_key, self.secret_key)
        return Smtp(self.sender, self.host, self.port or PORTS[self.tls], self.tls, self.smtp_user, self.smtp_password,
                    self.ca_file)  # fmt: skip

    def _persistently(self, what: str, act: Callable[[], T], attempts: int) -> T:
        def warn(error: BaseException, wait: float) -> None:
            _log.warning("%s, next try in %g s: %s", what, wait, error)

        try:
            return persistently(act, attempts=min(attempts, self.attempts), first=FIRST_WAIT, longest=LONGEST_WAIT,
                                passing=lambda error: isinstance(error, Trouble) and error.passing, warn=warn)  # fmt: skip
        except Trouble as error:
            raise DestinationError(f"{what}: {error}") from error


def _digest(*of: str) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:32]


def _filebase(file_name: str) -> str:
    """What the old option says, as today's: `{date}` was the time, formatted.

    >>> _filebase("a-{date:%Y}-"), _filebase("%Y-"), _filebase("")
    ('a-%Y-{file_number}', '%Y-{file_number}', '{file_number}')
    """
    dated = re.sub(r"\{date(?::([^{}]*))?\}", lambda found: found[1] or "%Y-%m-%d %H:%M:%S.%f", file_name)
    if re.search(r"[{}]", dated.replace("{{", "").replace("}}", "")):
        raise ConfigError(f"file_name: {file_name!r:.200} has another placeholder than {{date}}")
    return dated + NUMBER
