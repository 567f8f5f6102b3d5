"""The fixtures of places.py for all tests of storages."""

from __future__ import annotations

from azure_files import azure_file, azure_files, azure_files_service  # noqa: F401
from hdfs_cluster import hdfs, hdfs_cluster  # noqa: F401
from places import *  # noqa: F403
