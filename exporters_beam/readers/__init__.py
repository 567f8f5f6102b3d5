"""Readers: one file per kind of source. Each says what there is to read and opens it."""
