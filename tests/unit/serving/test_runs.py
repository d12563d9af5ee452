"""Pages of runs through the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from synthetic_run import make_run
from tests.service import Puppet, Reply, ask, running

from pixelwise.pages import by_picture
from pixelwise.serving.limits import Limits
from pixelwise.serving.runs import Runs

pytest.importorskip("fastapi")
NAME = "one/run<b>bold"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path / "one")
    return tmp_path


def replies(folder: Path, *paths: str) -> list[Reply]:
    async def scenario() -> list[Reply]:
        async with running(Puppet(), Limits(), runs=Runs(folder)) as port:
            return [await ask(port, method="GET", path=path) for path in paths]

    return asyncio.run(scenario())


def test_a_cell_of_the_matrix_leads_to_its_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, counted = list[int](), by_picture.counted
    monkeypatch.setattr(by_picture, "counted", lambda run: counts.append(1) or counted(run))
    at = f"/v1/runs/pictures?name={quote(NAME, safe='')}"
    report, cell, other, worst = replies(
        folder, f"/v1/runs/page?name={NAME}", f"{at}&truth=0&guess=1", f"{at}&truth=1&guess=", at
    )
    assert f'href="{at}&amp;truth=0&amp;guess=1"' in report.body.decode()
    assert "128 px" in cell.body.decode()
    assert "576 px" in other.body.decode()
    assert "The worst first" in worst.body.decode()
    assert 'href="page?name=one%2Frun%3Cb%3Ebold"' in worst.body.decode()
    assert counts == [1]  # once for all cells
    assert cell.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("name=other", 404, "U001"),
        ("name=../one", 404, "U001"),
        (f"name={quote(NAME)}&head=other", 404, "U001"),
        (f"name={quote(NAME)}&truth=7", 422, "U002"),
        (f"name={quote(NAME)}&truth=-1", 400, "U002"),
        ("", 400, "U002"),
    ],
)
def test_what_is_not_there_is_a_problem_document(
    folder: Path, query: str, status: int, code: str
) -> None:
    (reply,) = replies(folder, f"/v1/runs/pictures?{query}")
    assert (reply.status, reply.told["code"]) == (status, code)
    assert str(folder) not in reply.body.decode()
