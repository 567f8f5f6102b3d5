"""What the JSON Schema of documents says of the members of options of the transform `fields`, for editors."""

from __future__ import annotations

from typing import Any

from exporters_beam.transforms.fields import operations
from exporters_beam.transforms.fields.dates import AMBIGUOUS
from exporters_beam.transforms.fields.types import OPTIONS

_REFERENCE = {"type": "string", "pattern": r"^\$\{"}

_TEXTS: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

_TYPE: dict[str, Any] = {
    "anyOf": [
        {"enum": list(OPTIONS)},
        {
            "type": "object",
            "properties": {
                "type": {"anyOf": [{"enum": list(OPTIONS)}, _REFERENCE]},
                "format": _TEXTS,
                "zone": {"type": "string"},
                "ambiguous": {"anyOf": [{"enum": list(AMBIGUOUS)}, _REFERENCE]},
                "true_values": _TEXTS,
                "false_values": _TEXTS,
                "empty_as_null": {"anyOf": [{"type": "boolean"}, _REFERENCE]},
            },
            "required": ["type"],
            "additionalProperties": False,
        },
        _REFERENCE,
    ]
}

_COUNT: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, _REFERENCE]}

_MASK: dict[str, Any] = {
    "anyOf": [
        *_COUNT["anyOf"],
        {
            "type": "object",
            "properties": {"keep_last": _COUNT, "with": {"type": "string"}},
            "additionalProperties": False,
        },
    ]
}

FLATTEN: dict[str, Any] = {
    "properties": {"fields": {"type": ["array", "null"], "items": {"type": "string"}}, "separator": {"type": "string"}},
    "additionalProperties": False,
    "items": {"type": "string"},
}

NAMES: dict[str, Any] = {"additionalProperties": {"type": "string"}}

TYPES: dict[str, Any] = {"additionalProperties": _TYPE}

MASKS: dict[str, Any] = {"additionalProperties": _MASK}

HASHES: dict[str, Any] = {"additionalProperties": {"anyOf": [{"enum": list(operations.HASHES)}, _REFERENCE]}}
