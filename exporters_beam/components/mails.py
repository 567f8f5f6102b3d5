"""What the mails of notifications and those of the writer share: addresses, and Amazon SES."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from exporters_beam.components.secret import reveal
from exporters_beam.errors import MissingExtra

EXTRA = "ses"

ADDRESS = re.compile(r"[^\x00-\x1f\x7f]+@[^\x00-\x1f\x7f]+")
"""Something before and behind an @."""


def ses(access_key: str | None, secret_key: str | None, what: str) -> Any:
    """A client of SES in the region of the AWS configuration, else us-east-1. Raises MissingExtra without boto3."""
    try:
        import boto3
    except ImportError:
        raise MissingExtra(what, EXTRA) from None
    session = boto3.session.Session(aws_access_key_id=reveal(access_key), aws_secret_access_key=reveal(secret_key))
    return session.client("ses", region_name=session.region_name or "us-east-1")


def is_permanent(error: BaseException) -> bool:
    """A refusal that stays one: wrong key, address not verified."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, Mapping):
        return False
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return 400 <= status < 500 and status != 429 and "Throttl" not in str(answer.get("Error", {}).get("Code"))
