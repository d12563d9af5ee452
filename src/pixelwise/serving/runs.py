"""A folder of runs, looked at through the service: its pages are those of ``pixelwise report``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pixelwise import folders
from pixelwise.errors import UsageError
from pixelwise.pages import report, runs
from pixelwise.pages.run import read_run

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""As the pages themselves say: they load and run nothing."""
DEPTH = 3  # folders below the one that is served
LIVE = 10  # seconds after which the page of a run that is trained is asked for again


class Runs:
    """What stands in a folder; a run is named by its path in it, and by nothing else."""

    def __init__(self, root: Path) -> None:
        self.root, self._turn = root, asyncio.Lock()

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

    async def page(self, names: list[str]) -> tuple[str, bool]:
        """One run's report, or the page that compares several; whether one is still trained.

        Raises:
            UsageError: U001 no such run, U002 too many.
        """
        known = self.places()
        for name in names:
            if name not in known:
                raise UsageError("U001", "no such run is there", "GET /v1/runs")
        chosen = [known[name] for name in names]
        async with self._turn:  # pages read pictures: one at a time, beside the service's own loop
            text = await asyncio.to_thread(_made, chosen)
        return text, any(map(runs.is_training, chosen))


def _made(places: list[Path]) -> str:
    return report.page(read_run(places[0])) if len(places) == 1 else runs.page(places)


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
