"""What the reader and the writer of Amazon SQS share: the options by which a queue is found, its client, what it refuses.

Facts: a request has ten entries at most; together they have 1 MiB at most, or 256 KiB where the queue takes no larger messages
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html). A message that was received
can be hidden from others for twelve hours in all. Of a group of a FIFO queue nothing more is given as long as messages of it
that were received are not deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from exporters_beam.components.options import option
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import OnFirstUse, client
from exporters_beam.storages.s3 import check_keys
from exporters_beam.systems.messages import MessageFault

ENTRIES = 10
"""Entries of a request."""

PASSING = ("ThrottlingException", "RequestThrottled", "Throttling", "ServiceUnavailable", "InternalError", "InternalFailure",
           "RequestTimeout", "KmsThrottled", "AWS.SimpleQueueService.RequestThrottled", "OverLimit")  # fmt: skip
"""Codes of errors after which the same may go well."""

_TO_BLAME = {
    "QueueDoesNotExist": ("queue", "there is no queue {queue!r}"),
    "NonExistentQueue": ("queue", "there is no queue {queue!r}"),
    "InvalidAddress": ("queue", "{queue!r} is not a queue of this server"),
    "InvalidClientTokenId": ("aws_access_key_id", "the server does not know this key"),
    "UnrecognizedClientException": ("aws_access_key_id", "the server does not know this key"),
    "InvalidAccessKeyId": ("aws_access_key_id", "the server does not know this key"),
    "SignatureDoesNotMatch": ("aws_secret_access_key", "the secret does not belong to the key"),
    "InvalidSignatureException": ("aws_secret_access_key", "the secret does not belong to the key"),
    "ExpiredToken": ("aws_session_token", "the credentials have expired"),
    "ExpiredTokenException": ("aws_session_token", "the credentials have expired"),
    "AccessDenied": ("queue", "no permission for the queue {queue!r}"),
    "AccessDeniedException": ("queue", "no permission for the queue {queue!r}"),
    "KmsAccessDenied": ("queue", "no permission to use the key of the queue {queue!r}"),
}
"""Codes of errors: the option that is to blame, and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class SqsQueue(OnFirstUse):
    """The options by which the reader and the writer find a queue."""

    queue: str = option("name or URL of the queue; names of FIFO queues end in .fifo", example="orders")
    aws_access_key_id: str | None = option("key; without one, what is in the environment, a profile, or the machine's role",
                                           type="str", default=None, secret=True, identity=False)  # fmt: skip
    aws_secret_access_key: str | None = option("secret of the key", type="str", default=None, secret=True, identity=False)
    aws_session_token: str | None = option("token of temporary credentials", type="str", default=None, secret=True,
                                           identity=False)  # fmt: skip
    aws_region: str | None = option("region; by default that of the queue's URL, of the environment or the profile",
                                    type="str", default=None, example="eu-west-1")  # fmt: skip
    host: str | None = option("server that speaks the protocol of SQS, as a URL", type="str", default=None,
                              example="http://localhost:9324")  # fmt: skip

    def __post_init__(self) -> None:
        if not self.queue:
            raise ConfigError("queue: give the name or the URL of a queue")
        check_keys(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        if self.host and "://" not in self.host:
            raise ConfigError(f"host: {self.host} is not a URL; write https://{self.host}")

    @property
    def queue_name(self) -> str:
        return self.queue.rstrip("/").rpartition("/")[2]

    @property
    def fifo(self) -> bool:
        return self.queue.endswith(".fifo")

    @property
    def connection(self) -> Connection:
        """The queue with its client, kept from the first use on."""
        return self._once(lambda: Connection(self))

    def _let_go(self) -> None:
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.client.close()


class Connection:
    """A client, and the URL of the queue. What is asked raises MessageFault."""

    def __init__(self, of: SqsQueue) -> None:
        self.queue = of.queue
        boto3, config = client("boto3", "SQS", "sqs"), client("botocore.config", "SQS", "sqs")
        host = urlsplit(of.queue).hostname or ""
        named = host.split(".")[1] if host.startswith("sqs.") and host.count(".") >= 2 else None
        with self.answers():
            session = boto3.session.Session()
            self.client = session.client(
                "sqs",
                aws_access_key_id=of.aws_access_key_id or None,
                aws_secret_access_key=of.aws_secret_access_key or None,
                aws_session_token=of.aws_session_token or None,
                region_name=of.aws_region or named or session.region_name or "us-east-1",
                endpoint_url=of.host,
                config=config.Config(
                    retries={"mode": "standard", "total_max_attempts": 1},
                    connect_timeout=10,
                    read_timeout=60,
                    max_pool_connections=32,
                ),
            )
        self.url = of.queue if "://" in of.queue else str(self.call("get_queue_url", QueueName=of.queue)["QueueUrl"])

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to a request."""
        with self.answers():
            asked: Callable[..., dict[str, Any]] = getattr(self.client, method)
            return asked(**given)

    def on_queue(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to a request about the queue."""
        return self.call(method, QueueUrl=self.url, **given)

    def attributes(self, *names: str) -> dict[str, str]:
        """What the queue says of itself; nothing where it does not let this user ask."""
        try:
            return dict(self.on_queue("get_queue_attributes", AttributeNames=list(names)).get("Attributes", {}))
        except MessageFault as error:
            if "AccessDenied" in error.code:
                return {}
            raise

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Turns what boto3 raises into MessageFault."""
        errors = client("botocore.exceptions", "SQS", "sqs")
        try:
            yield
        except errors.ClientError as error:
            raise self._refused(error.response) from error
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as error:
            raise MessageFault("aws_access_key_id", "no credentials were given, and none are in the environment or a profile",
                               type(error).__name__) from error  # fmt: skip
        except (errors.HTTPClientError, errors.ConnectionError) as error:
            raise MessageFault("host", f"the server cannot be reached ({one_line(str(error), 300)})", type(error).__name__,
                               passing=True) from error  # fmt: skip
        except (errors.BotoCoreError, ValueError) as error:
            raise MessageFault("", one_line(str(error), 300), type(error).__name__) from error

    def _refused(self, response: dict[str, Any]) -> MessageFault:
        said = response.get("Error", {})
        code, text = str(said.get("Code", "")).rpartition(".")[2], one_line(str(said.get("Message", "")), 300)
        option, what = _TO_BLAME.get(code, ("", "the server refused"))
        passing = code in PASSING or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
        told = f"{what.format(queue=self.queue)} (the server said {code}{': ' if text else ''}{text})"
        return MessageFault(option, told, code, passing)
