"""Killed at any moment: no run is lost or changed, no output torn, missing or made twice.

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
SCRIPT = Path(__file__).parent / "killing.py"
KILLS = {"train": 100, "predict": 200, "convert": 200, "prepare": 200}
WORKS = [pytest.param("train", marks=pytest.mark.slow), "predict", "convert", "prepare"]


def seen(folder: Path, work: str, *options: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), work, str(folder), *map(str, options)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    assert found["kills"] >= 1, done.stderr
    return found | {"said": done.stderr}


def failures(found: dict[str, int]) -> dict[str, int]:
    return {name: found[name] for name in ("stuck", "different", "torn", "left") if found[name]}


@pytest.mark.parametrize("work", WORKS)
def test_killed_at_random_moments_it_ends_as_if_it_never_had_been(
    tmp_path: Path, work: str
) -> None:
    found = seen(tmp_path, work, "--kills", share(KILLS[work], least=3))
    assert not failures(found), found


@pytest.mark.parametrize("work", WORKS)
def test_killed_at_each_touch_of_a_file_it_ends_as_if_it_never_had_been(
    tmp_path: Path, work: str
) -> None:
    found = seen(tmp_path, work, "--each", share.every(40))
    assert not failures(found), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "event", "fails"),
    [
        ("train-in-place", "half.written", "stuck"),
        ("train-ambient", "os.rename", "different"),
        ("predict-in-place", "half.written", "torn"),
    ],
)
def test_a_promise_that_is_broken_on_purpose_is_caught(
    tmp_path: Path, broken: str, event: str, fails: str
) -> None:
    found = seen(tmp_path, broken, "--each", 4, "--event", event)
    assert found[fails], found
