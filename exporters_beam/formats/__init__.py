"""Formats, one file each: reading (deserializers) and writing (formatters)."""
