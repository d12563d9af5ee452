"""The service under load for a long time: nothing odd comes back, and nothing grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trust_counts import share

from small_model import save_model

pytest.importorskip("fastapi")
SECONDS = 1800
GROWTH = 1.1
"""Of bytes, from a quarter of the way to the end; what is allocated in between comes and goes."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_service_at_most_of_its_load_stays_as_it_was(tmp_path: Path) -> None:
    model = save_model(tmp_path / "small.safetensors")
    script = Path(__file__).parent / "soaking.py"
    done = subprocess.run(
        [sys.executable, str(script), str(model), str(share(SECONDS, least=30))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PIXELWISE_HOME": str(tmp_path / "home")},
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["odd"] == []
    ends = told["ends"]
    assert min(ends["whole 200"], ends["left"], ends["dripped"]) >= 1
    assert sum(count for end, count in ends.items() if end.startswith("killed")) >= 1
    early, late = told["early"], told["late"]
    assert late["bytes"] < GROWTH * early["bytes"]
    assert late["workers"] < GROWTH * early["workers"]
    assert late["files"] <= early["files"]  # those of connections that were open then are closed
    assert late["threads"] <= early["threads"]
