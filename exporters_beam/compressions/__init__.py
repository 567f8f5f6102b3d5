"""Compressions, one file each: reading (`Decompressor` components) and writing (`Codec` values)."""
