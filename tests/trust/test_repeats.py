"""What gives the same bits, and what does not: runs that differ in one thing of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from repeating import REPEATS, WAYS, measured


@pytest.mark.slow
def test_the_table_of_docs_trust_is_what_happens(tmp_path: Path) -> None:
    apart = measured(tmp_path, steps=10)
    assert {name for name, row in apart.items() if row["same_bits"]} == set(REPEATS)
    others = set(WAYS) - set(REPEATS) - {"first"}
    assert all(apart[name]["widest"] > 0 for name in others)
    assert all(apart[name]["mean_iu"] == 0 for name in REPEATS)
