"""docs/why answers each misunderstanding in two languages, with pictures that its script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from tests.house.markdown import tables
from tests.house.source import ROOT

WHY = ROOT / "docs" / "why"
PAGES = sorted(p.stem for p in WHY.glob("*.md") if ".zh-CN" not in p.name and p.stem != "README")
LARGEST = 60_000  # bytes of a picture


@pytest.fixture(scope="module")
def drawn() -> ModuleType:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    found = importlib.util.spec_from_file_location("pictures", WHY / "pictures.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_misunderstanding_leads_to_pages_that_answer_it() -> None:
    (found,) = tables(ROOT / "docs" / "misunderstandings.md")
    for said, *cells in found.rows:
        for words, cell, ending in zip(
            said.split(" / ", 1), cells, (".md", ".zh-CN.md"), strict=True
        ):
            (page,) = re.findall(r"\(why/([\w-]+)" + re.escape(ending) + r"\)", cell)
            assert f"“{words}”" in (WHY / f"{page}{ending}").read_text("utf-8"), said


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_picture_in_both_languages(page: str) -> None:
    texts = [(WHY / f"{page}{ending}").read_text("utf-8") for ending in (".md", ".zh-CN.md")]
    assert all(f"({page}.png)" in text and "<!-- printed -->" in text for text in texts)
    assert (WHY / f"{page}.png").stat().st_size < LARGEST
    index = (WHY / "README.md").read_text("utf-8")
    assert all(f"({page}{ending})" in index for ending in (".md", ".zh-CN.md"))


def test_each_picture_belongs_to_a_page(drawn: ModuleType) -> None:
    assert sorted(drawn.PICTURES) == PAGES == sorted(p.stem for p in WHY.glob("*.png"))


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_those_that_the_script_draws(
    page: str, drawn: ModuleType, tmp_path: Path
) -> None:
    (path,) = drawn.write(tmp_path, [page])
    new, kept = (np.asarray(Image.open(p).convert("RGB"), int) for p in (path, WHY / path.name))
    assert new.shape == kept.shape
    assert abs(new - kept).mean() < 0.5  # other versions of FreeType move letters a little
