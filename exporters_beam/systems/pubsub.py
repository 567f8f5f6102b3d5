"""What the reader and the writer of Google Pub/Sub share: the options by which it is found, its clients, what it refuses.

Facts: a request to publish has 1,000 messages and 10 MB at most, an acknowledgement deadline is 600 seconds at most
(https://cloud.google.com/pubsub/quotas). The clients are the generated ones: one request, one answer, no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import OnFirstUse, StorageError, client
from exporters_beam.storages.gcs import check_credentials, of_package
from exporters_beam.systems.messages import MessageFault

SECONDS = 60.0
"""Seconds for an answer."""

SCOPE = "https://www.googleapis.com/auth/pubsub"

LARGEST = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@dataclass(frozen=True, kw_only=True)
class PubsubOptions(OnFirstUse):
    """The options by which the reader and the writer find the service."""

    project: str | None = option("project, where the name of the topic or subscription has none", type="str", default=None,
                                 example="shop")  # fmt: skip
    credentials: Any = option("key of a service account, or package:path of one; by default those of the machine",
                              type="dict|str", default=None, secret=True, identity=False)  # fmt: skip
    host: str | None = option("an emulator in the place of the service, as host:port, without credentials", type="str",
                              default=None, env="PUBSUB_EMULATOR_HOST", example="localhost:8085")  # fmt: skip

    def check_name(self, name: str, given: str, kind: str) -> None:
        """Raises ConfigError where a topic or subscription is not named as it has to be."""
        check_credentials(self.credentials)
        if not given:
            raise ConfigError(f"{name}: give the name of a {name}")
        if "/" in given and (given.split("/")[0], given.split("/")[2:3], given.count("/")) != ("projects", [kind], 3):
            raise ConfigError(f"{name}: {given} is no name; write projects/PROJECT/{kind}/NAME, or NAME and `project`")
        if "/" not in given and not self.project:
            raise ConfigError(f"project: give it, or the whole name: {name}: projects/PROJECT/{kind}/{given}")
        if self.host and "://" in self.host:
            raise ConfigError(f"host: write {self.host.partition('://')[2]}, without a scheme")

    def path(self, given: str, kind: str) -> str:
        return given if "/" in given else f"projects/{self.project}/{kind}/{given}"

    def _connected(self, kind: str) -> Any:
        """A client of the library: a `publisher` or a `subscriber`."""
        what = f"{kind.capitalize()}Client"
        library = client("google.pubsub_v1", "Pub/Sub", "pubsub")
        transports = client(f"google.pubsub_v1.services.{kind}.transports", "Pub/Sub", "pubsub")
        transport = vars(transports)[f"{kind.capitalize()}GrpcTransport"]
        with answers("credentials", ""):
            if self.host:
                channel = client("grpc", "Pub/Sub", "pubsub").insecure_channel(self.host, options=LARGEST)
                return vars(library)[what](transport=transport(channel=channel))
            return vars(library)[what](credentials=self._credentials())

    def _credentials(self) -> Any:
        given = self.credentials
        if given is None:
            return None
        account = client("google.oauth2.service_account", "Pub/Sub", "pubsub")
        try:
            found = of_package(given) if isinstance(given, str) else given
            return account.Credentials.from_service_account_info(dict(found), scopes=[SCOPE])
        except StorageError as error:
            raise MessageFault("credentials", str(error).partition(": ")[2] or str(error)) from None
        except (ValueError, TypeError, KeyError):
            raise MessageFault("credentials", "this is not a key of a service account") from None

    def _let_go(self) -> None:
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.transport.close()


def ask(method: Callable[..., Any], option: str, where: str, request: Mapping[str, Any], seconds: float = SECONDS) -> Any:
    """The answer to a request, which is made once. Raises MessageFault."""
    with answers(option, where):
        return method(request=request, retry=None, timeout=seconds)


@contextmanager
def answers(option: str, where: str) -> Iterator[None]:
    """Turns what the library raises into MessageFault. `option` and `where`: the topic or subscription."""
    errors = client("google.api_core.exceptions", "Pub/Sub", "pubsub")
    auth = client("google.auth.exceptions", "Pub/Sub", "pubsub")
    try:
        yield
    except errors.NotFound as error:
        raise MessageFault(option, f"there is no {option} {where} ({_said(error)})", "NotFound") from error
    except errors.Unauthenticated as error:
        raise MessageFault("credentials", f"the service does not take them ({_said(error)})", "Unauthenticated") from error
    except errors.Forbidden as error:
        raise MessageFault(option, f"no permission for {where} ({_said(error)})", "Forbidden") from error
    except errors.ServiceUnavailable as error:
        raise MessageFault("host", f"the service cannot be reached ({_said(error)})", "Unavailable", passing=True) from error
    except (errors.ServerError, errors.TooManyRequests, errors.Aborted, errors.Cancelled) as error:
        name = type(error).__name__
        raise MessageFault(option, f"the service could not do it for {where} ({_said(error)})", name, passing=True) from error
    except errors.GoogleAPICallError as error:
        raise MessageFault(option, f"the service refused it for {where} ({_said(error)})", type(error).__name__) from error
    except auth.DefaultCredentialsError as error:
        raise MessageFault("credentials", "none were given, and this machine has none of its own (application default "
                           "credentials)") from error  # fmt: skip
    except auth.GoogleAuthError as error:
        told = f"the service does not take them ({one_line(str(error), 300)})"
        raise MessageFault("credentials", told, passing=bool(error.retryable)) from error


def _said(error: Any) -> str:
    return f"it said {one_line(str(error.message), 300) or type(error).__name__}"
