"""``pixelwise reproduce``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import Json, Settings, Threads
from pixelwise.errors import DataError, UsageError
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pixelwise.experiments.claims import Claim

WHERE = "PIXELWISE_TEST_DATA"
GOOGLENET = "weights/bvlc_googlenet/bvlc_googlenet_noaux_v2.caffemodel"


def reproduce(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM...", help="which; all, if none is named")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="show the claims, measure nothing")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the queue")] = Path(
        "reproduce"
    ),
    data: Annotated[str, typer.Option(help=f"photos with labels; else CamVid in ${WHERE}")] = "",
    weights: Annotated[
        str, typer.Option(help=f"that nets on photos start from; else GoogLeNet's in ${WHERE}")
    ] = "",
    trunk: Annotated[str, typer.Option(help="of the nets on photos")] = "googlenet-tight",
    steps: Annotated[int, typer.Option(min=0, help="length of a run")] = 0,
    minutes: Annotated[
        float, typer.Option(min=0, help="length of a run in minutes, by a timing made once")
    ] = 0,
    seeds: Annotated[str, typer.Option(help="of the runs, after commas")] = "0,1,2",
    settings: Settings = None,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Measure sentences of the paper again, by short trainings.

    Verdicts are by paired intervals. A queue that was stopped goes on with the
    same command; runs that claims share are trained once.
    OUT gets claims/CLAIM.json, reproduction.md and its plots.
    """
    from pixelwise.experiments.claims import catalogue, chosen

    picked = chosen(claims or [])
    if listed:
        _list(picked, out, json=json)
        return
    if steps and minutes:
        raise UsageError("U002", "--steps and --minutes both give the length", "give one of them")
    from pixelwise.workflows import reproduce as queues

    needed = any(claim.ground == "photos" for claim in picked.values())
    places = _places(data, weights, needed=needed)
    length = dict.fromkeys(catalogue().grounds, steps) if steps else {}
    shared = queues.Shared(*places, trunk, tuple(settings or ()), length)
    queue = queues.opened(out, shared, minutes=minutes, threads=threads, say=say)
    made, numbers = dict[str, dict[str, Any]](), _numbers(seeds)
    arms = len(numbers) * sum(len(claim.arms) for claim in picked.values())
    with progress("measuring arms", arms, quiet=json) as advance:
        for result in queues.carry_out(queue, picked, numbers, advance):
            made[result["claim"]] = result
            say(f"{result['claim']}: {result.get('verdict') or result['error']}")
    if json:
        emit_json({"out": str(out), "claims": list(made.values())})
    else:
        _show(made)
        if any("verdict" in result for result in made.values()):
            say(f"see {out / 'reproduction.md'}")
    if any("error" in result for result in made.values()):
        raise typer.Exit(1)


def _places(data: str, weights: str, *, needed: bool) -> tuple[str, str]:
    """Photos and weights: what is given, else what lies in the folder of real data."""
    told = os.environ.get(WHERE, "")
    if needed and not data and not told:
        what = f"no photos are named: --data is not given and {WHERE} is not set"
        raise UsageError("U002", what, "pixelwise reproduce --data DATA --weights imagenet")
    own = Path(told) / GOOGLENET
    usual, photos = str(own) if told and own.is_file() else "imagenet", data or f"{told}/camvid"
    if needed and not Path(photos).exists():
        raise DataError("D010", f"{photos}: no such folder, expected a data set", "--data DATA")
    return photos, weights or usual


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() for word in words) or len({*words}) < len(words):
        raise UsageError("U002", f"--seeds is {text}, expected numbers, each once", "--seeds 0,1,2")
    return [int(word) for word in words]


def _list(picked: Mapping[str, Claim], out: Path, *, json: bool) -> None:
    from pixelwise.settings import as_dict
    from pixelwise.workflows.reproduce import CLAIMS, read_results

    known = {r["claim"]: r["verdict"] for r in read_results(out / CLAIMS)}
    if json:
        rows = [{"claim": n, **as_dict(c), "verdict": known.get(n)} for n, c in picked.items()]
        emit_json({"claims": rows})
        return
    lines = [
        (name, claim.sentence, claim.place, claim.ground, len(claim.arms), known.get(name, ""))
        for name, claim in picked.items()
    ]
    columns = ("claim", "what the paper says", "where", "ground", "arms", f"verdict in {out}")
    table("", columns, lines)


def _show(made: Mapping[str, Mapping[str, Any]]) -> None:
    from pixelwise.experiments.claim_pages import COMPARED, compared

    rows = [(n, *compared(c)) for n, result in made.items() for c in result.get("compared", ())]
    if rows:
        table("", ("claim", *COMPARED), rows)
