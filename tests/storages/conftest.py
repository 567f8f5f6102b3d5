"""The fixtures of places.py for all tests of storages."""

from __future__ import annotations

from places import *  # noqa: F403
