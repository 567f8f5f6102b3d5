"""The fixtures of places.py for all tests of storages."""

from __future__ import annotations

from places import *  # noqa: F403
from s3_servers import *  # noqa: F403
