"""The pages as a site: nothing is left out, nothing comes from other hosts."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.house.source import ROOT, commands

NAV = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]


def targets(nav: Any) -> Iterator[str]:
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from targets(value) if isinstance(value, list) else [value]


def test_pages_that_the_navigation_names_are_there_once() -> None:
    """Those that it does not name come last (`docs/hooks/site.py`)."""
    listed = list(targets(NAV))
    assert len(listed) == len(set(listed))
    made = {"index.md", "reference/commands.md", "reference/recipe.md", "reference/python.md"}
    assert not [n for n in listed if n not in made and not (ROOT / "docs" / n).exists()]


def test_packages_of_the_site_are_not_pinned_twice() -> None:
    def names(file: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+)==", (ROOT / file).read_text("utf-8").lower(), re.M))

    assert not names("requirements-docs.lock") & names("requirements.lock")


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("material"), reason="requirements-docs.lock is not installed"
)
def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pages = list((tmp_path / "site").rglob("*.html"))
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]* src=[\"']?https?:|<link[^>]*stylesheet[^>]*https?:"
    )
    assert not [p.name for p in pages if fetched.search(p.read_text("utf-8"))]
    text = (tmp_path / "site" / "reference" / "commands.html").read_text("utf-8")
    assert all(f"pixelwise {' '.join(words)}" in text for words in commands() if words)
    index = json.loads((tmp_path / "site" / "search" / "search_index.json").read_text("utf-8"))
    assert any("receptive field" in d["text"] for d in index["docs"])
