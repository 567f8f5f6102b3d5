"""Tests of configs: records go through the steps, without a pipeline, and are compared with what is expected."""
