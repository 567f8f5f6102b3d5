"""Secrets that services keep: Google Secret Manager and AWS Secrets Manager, asked by their official clients on first use.

What a service says is kept for a few minutes, since every part of an export that has secrets asks for them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, MissingExtra

KEPT_SECONDS = 300.0
"""How long a secret counts as what it was."""

TIMEOUT = 30.0
"""Seconds to wait for an answer."""

GCP_EMULATOR = "SECRET_MANAGER_EMULATOR_HOST"
"""The variable of the environment that names a stand-in for Google Secret Manager, as HOST:PORT."""

_GCP = re.compile(r"projects/[^/\s]+/(?:locations/(?P<location>[a-z0-9-]+)/)?secrets/[\w-]+(?P<version>/versions/[\w-]+)?")
_AWS = re.compile(r"arn:aws[\w-]*:secretsmanager:(?P<region>[\w-]+):\d*:secret:[\w/+=.@-]+|[\w/+=.@-]+")

_kept: dict[tuple[str, str], tuple[float, str]] = {}


def wrong_name(store: str, name: str) -> str:
    """What is wrong with the name of a secret, as the end of a sentence; "" for a right one.

    >>> wrong_name("gcp", "password"), wrong_name("aws", "prod/db#password")
    ('give projects/PROJECT/secrets/NAME, and /versions/VERSION for another than the latest', '')
    """
    secret, mark, member = name.partition("#")
    if mark and not member:
        return "the name of the member of its JSON is missing behind #"
    if store == "gcp" and not _GCP.fullmatch(secret):
        return "give projects/PROJECT/secrets/NAME, and /versions/VERSION for another than the latest"
    if store == "aws" and not _AWS.fullmatch(secret):
        return f"{secret!r} is not a name of a secret, nor its ARN"
    return ""


def read(store: str, name: str) -> str:
    """A secret that a service keeps, or a member of it where it is a JSON object and the name ends in `#MEMBER`.

    Raises ConfigError with the service's answer, MissingExtra.
    """
    reference = f"${{secret:{store}:{name}}}"
    secret, _, member = name.partition("#")
    known = _kept.get((store, secret))
    if known is None or time.monotonic() - known[0] > KEPT_SECONDS:
        known = _kept[store, secret] = time.monotonic(), _SERVICES[store](secret, reference)
    return _member(known[1], member, reference) if member else known[1]


def _member(text: str, member: str, reference: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise ConfigError(f"{reference}: the secret is not a JSON object; leave #{member} out to have all of it")
    value = found.get(member)
    if value is None or isinstance(value, (Mapping, list)):
        what = "is not a string" if member in found else "does not exist"
        raise ConfigError(f"{reference}: the member {member!r} of the secret {what}")
    return value if isinstance(value, str) else json.dumps(value)


def _of_gcp(name: str, reference: str) -> str:
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    except ImportError:
        raise MissingExtra(reference, "gcp-secrets") from None
    found = _GCP.fullmatch(name)
    location, emulator = found and found["location"], os.environ.get(GCP_EMULATOR)
    options: dict[str, Any] = {"transport": "rest"}  # gRPC does not stand that worker processes are forked.
    if emulator:
        options |= {"client_options": {"api_endpoint": f"http://{emulator}"}, "credentials": AnonymousCredentials()}
    elif location:
        options |= {"client_options": {"api_endpoint": f"secretmanager.{location}.rep.googleapis.com"}}
    whole = name if found and found["version"] else f"{name}/versions/latest"
    try:
        answer = SecretManagerServiceClient(**options).access_secret_version(request={"name": whole}, timeout=TIMEOUT)
    except (GoogleAPIError, GoogleAuthError, OSError, ValueError) as error:
        raise _refused(reference, "Google Secret Manager", getattr(error, "message", None) or error) from None
    return _text(answer.payload.data, reference)


def _of_aws(name: str, reference: str) -> str:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise MissingExtra(reference, "aws-secrets") from None
    found = _AWS.fullmatch(name)
    limits = Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT)
    try:
        client = boto3.session.Session().client("secretsmanager", region_name=found and found["region"], config=limits)
        answer = client.get_secret_value(SecretId=name)
    except ClientError as error:
        told = error.response.get("Error", {})
        raise _refused(reference, "AWS Secrets Manager", told.get("Message") or told.get("Code") or error) from None
    except (BotoCoreError, OSError, ValueError) as error:
        raise _refused(reference, "AWS Secrets Manager", error) from None
    text: str | None = answer.get("SecretString")
    return _text(answer["SecretBinary"], reference) if text is None else text


def _refused(reference: str, service: str, said: object) -> ConfigError:
    text = one_line(str(said), 300) or type(said).__name__
    return ConfigError(f"{reference}: {service} does not give it where the export runs: {text}")


def _text(data: bytes, reference: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{reference}: the secret is not UTF-8 text") from None


_SERVICES: Mapping[str, Callable[[str, str], str]] = {"gcp": _of_gcp, "aws": _of_aws}
