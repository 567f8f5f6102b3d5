"""Servers of databases, queues and services for the tests of this folder."""

from __future__ import annotations

from bigquery_service import bigquery  # noqa: F401
from rest_service import api  # noqa: F401
from scrapy_cloud_service import cloud  # noqa: F401

from databases import *  # noqa: F403
from kafka_server import kafka, own_kafka, registry  # noqa: F401
from mongodb_server import mongodb, mongodb_server  # noqa: F401
from pubsub_server import pubsub, pubsub_server  # noqa: F401
from sqs_server import sqs, sqs_server  # noqa: F401
