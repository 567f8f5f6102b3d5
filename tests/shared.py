"""The folder of public test files and cases that lies beside the checkout; tests that need it skip where it is absent."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EXPORTERS_BEAM_SHARED") or ROOT.parent / "shared")

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason=f"the shared test files are not at {SHARED}; EXPORTERS_BEAM_SHARED names another folder",
)
