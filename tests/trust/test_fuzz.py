"""Damaged files of every kind are read, or refused by an error of ours, whatever the damage.

The full counts are those of docs/trust.md; `PIXELWISE_TRUST` is the share of them that is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trust_counts import share

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SCRIPT = Path(__file__).parent / "fuzzing.py"
COPIES = {
    "pictures": 150_000,
    "labels": 50_000,
    "caffemodels": 50_000,
    "checkpoints": 10_000,
    "torch": 10_000,
    "mats": 50_000,
    "archives": 10_000,
    "documents": 20_000,
}


@pytest.mark.parametrize("kind", COPIES)
def test_damaged_copies_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(tmp_path), str(share(COPIES[kind], least=40))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PIXELWISE_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], done.stderr
    assert found["refused"] >= 1
    assert found["read"] + found["refused"] >= 40
