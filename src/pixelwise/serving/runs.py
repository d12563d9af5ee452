"""A folder of runs, looked at through the service: its pages are those of ``pixelwise report``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from pixelwise import folders
from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.pages import by_picture, report, runs
from pixelwise.pages.by_picture import ANY, Counted, Pair
from pixelwise.pages.run import Run, read_run
from pixelwise.serving import described
from pixelwise.serving.gate import NotAllowed

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""As the pages themselves say: they load and run nothing."""
HEADERS = {"content-security-policy": POLICY}
ROUTES = APIRouter(prefix="/v1/runs")
CLASS = r"^[0-9]{0,5}$"
T = TypeVar("T")
DEPTH = 3  # folders below the one that is served
KEPT = 4  # runs whose confusions by picture are remembered, a few megabytes each
LIVE = 10  # seconds after which the page of a run that is trained is asked for again


class Runs:
    """What stands in a folder; a run is named by its path in it, and by nothing else."""

    def __init__(self, root: Path) -> None:
        self.root, self.turn = root, asyncio.Lock()
        self._counted: dict[tuple[Path, str, int], Counted] = {}

    def places(self) -> dict[str, Path]:
        """The runs that are there now, by name; what lies in a run is none of its own."""
        found, level = dict[str, Path](), [self.root]
        for _ in range(DEPTH):
            below = [p for folder in level for p in sorted(folder.iterdir()) if p.is_dir()]
            found |= {p.relative_to(self.root).as_posix(): p for p in below if folders.is_run(p)}
            level = [p for p in below if not folders.is_run(p) and not p.is_symlink()]
        return found

    def listed(self) -> list[dict[str, Any]]:
        """Name, net, data, score and state of each."""
        told = []
        for name, place in self.places().items():
            scores = _scores(place)
            told.append({"name": name, "training": runs.is_training(place), **scores})
        return told

    def page(self, names: list[str]) -> tuple[str, bool]:
        """One run's report, or the page that compares several; whether one is still trained.

        Raises:
            UsageError: U001 no such run, U002 too many.
        """
        places = [self._place(name) for name in names]
        text = report.page(self._run(names[0])) if len(names) == 1 else runs.page(places)
        return text, any(map(runs.is_training, places))

    def pictures(self, name: str, head: str, pair: Pair, first: int) -> str:
        """A page of a run's evaluated pictures, the worst first.

        Raises:
            UsageError: U001 no such run or head, U002 as ``by_picture.page``.
        """
        run = self._run(name)
        own = next((own for own in run.heads if head in ("", own.head)), None)
        if own is None:
            raise UsageError("U001", "the run has no such head", "GET /v1/runs/page")
        counts = self._counts(own) if pair != ANY else {}
        link = f"{run.pictures}&head={quote(own.head)}" if own.head else run.pictures
        return by_picture.page(own, counts, pair, first, name=name, link=link)

    def _counts(self, run: Run) -> Counted:
        """Counted once for all cells of a matrix, as long as the scores stay."""
        scores = run.folder / folders.SCORES
        key = (run.folder, run.head, scores.stat().st_mtime_ns if scores.exists() else 0)
        if key not in self._counted:
            while len(self._counted) >= KEPT:
                del self._counted[next(iter(self._counted))]
            self._counted[key] = by_picture.counted(run)
        return self._counted[key]

    def _place(self, name: str) -> Path:
        if (place := self.places().get(name)) is None:
            raise UsageError("U001", "no such run is there", "GET /v1/runs")
        return place

    def _run(self, name: str) -> Run:
        pictures = f"/v1/runs/pictures?name={quote(name, safe='')}"
        return replace(read_run(self._place(name)), pictures=pictures)


@ROUTES.get("", responses=described.RUNS)
async def listed_runs(request: Request) -> Response:
    """The runs in the folder of ``--runs``; none without it."""
    shown: Runs | None = request.app.state.runs
    told = {"runs": await asyncio.to_thread(shown.listed) if shown else []}
    return JSONResponse(told, headers=request.app.state.cookie)


@ROUTES.get("/page", responses=described.RUNS_PAGE)
async def page_of_runs(
    request: Request,
    name: Annotated[
        list[str], Query(description="of /v1/runs; several are compared", max_length=runs.MOST)
    ],
) -> Response:
    """What ``pixelwise report`` makes of a run, or of several."""
    text, training = await _made(request, lambda shown: shown.page(name))
    return HTMLResponse(text, headers=HEADERS | ({"refresh": str(LIVE)} if training else {}))


@ROUTES.get("/pictures", responses=described.RUNS_PAGE)
async def pictures_of_run(
    request: Request,
    name: Annotated[str, Query(description="of /v1/runs")],
    head: Annotated[str, Query(description="of a net of several; by default the first")] = "",
    truth: Annotated[str, Query(description="number of a class", pattern=CLASS)] = "",
    guess: Annotated[str, Query(description="what it was taken for", pattern=CLASS)] = "",
    first: Annotated[int, Query(ge=0, le=10**6, description="of the page, in their order")] = 0,
) -> Response:
    """Evaluated pictures beside truth and guess: the worst first, or most of a confusion first."""
    pair = (int(truth) if truth else None, int(guess) if guess else None)
    text = await _made(request, lambda shown: shown.pictures(name, head, pair, first))
    return HTMLResponse(text, headers=HEADERS)


async def _made(request: Request, make: Callable[[Runs], T]) -> T:
    """What is made of the service's runs; messages name no folder of this machine."""
    shown: Runs | None = request.app.state.runs
    if shown is None:
        raise NotAllowed(404, "U001", "no runs are served", "pixelwise serve MODEL --runs DIR")
    try:
        async with shown.turn:  # pages read pictures: one at a time, beside the service's own loop
            return await asyncio.to_thread(make, shown)
    except PixelwiseError as error:
        status = 404 if error.code in ("U001", "M001") else 422
        text, hint = (t.replace(str(shown.root), ".") for t in (str(error), error.hint))
        raise NotAllowed(status, error.code, text, hint) from error


def _scores(place: Path) -> dict[str, Any]:
    try:
        run = read_run(place)
    except (OSError, ValueError):
        return {}
    mean = run.scores.get("mean_iu")
    return {
        "net": str(run.recipe.get("net", "")),
        "data": Path(str(run.recipe.get("data", ""))).name,
        "mean_iu": mean if isinstance(mean, float) else None,
        "steps": max((int(e.get("step") or 0) for e in run.events), default=0),
    }
