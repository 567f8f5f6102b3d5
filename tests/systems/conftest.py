"""Servers of databases and queues for the tests of this folder."""

from __future__ import annotations

from databases import *  # noqa: F403
