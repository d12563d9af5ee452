"""How large a plan has pictures, crops and batches: by things, by time, and by memory.

Numbers are those of the runs on CamVid (docs/camvid.md) unless they say otherwise.
"""

from __future__ import annotations

from math import ceil, inf, prod, sqrt
from typing import Any

from pixelwise.engine.memory import FLOAT32, by_modules, bytes_of_weights, kept_for_gradients
from pixelwise.errors import hxw
from pixelwise.nets.net import Net
from pixelwise.training.draft import Draft
from pixelwise.training.survey import Facts, Start

PIXELS = 4 * 480 * 480  # of a step: four crops of 480x480
STEPS = 200  # at least so many, where the clock counts: 229 were enough for 53 % on CamVid
SIDE = 480  # of a crop: better than 320 and 400
QUICK_SIDE = 224  # of a crop where time is short: what the trunks have learned from
LEAST_SIDE = 128  # of a crop where memory is short: four cells of the coarsest scores
BATCH, LEAST_BATCH = 16, 2
CELLS = 2  # of the finest scores, that the thinnest things should cover: CamVid's poles at 1.5
ZOOMS = (0.25, 0.5, 1.0, 1.5, 2.0)
ENLARGED = 1600  # longer side of an enlarged picture: beyond, labelling one takes many seconds
SEEN = 5e-4  # share of the pixels from which on a class decides about the size: below it is noise
FASTER = 1.2  # times fp32, from which on bf16 is worth its rounding
SPARE = 0.7  # of the memory at hand that a step may take: torch and others need some as well
CACHED = 0.2  # of it, that decoded pictures may take
BACKWARD = 2.0  # times the maps that are kept: 1.6 to 1.8 were measured, with three nets
MOMENTS = 4  # of every weight: itself, its gradient, AdamW's two


def choose_sizes(draft: Draft, facts: Facts, net: Net) -> None:
    """Zoom, precision, crop and batch: what the net is shown, and how much of it in a step."""
    if facts.start and facts.start.net:
        _keep_view(draft, facts.start)
    else:
        draft.choose("zoom", *_zoom(facts, net))
    exact, half = (facts.speed.get(name, 0.0) for name in ("fp32", "bf16"))
    if draft["minutes"] and exact and half >= FASTER * exact:  # never silently less exact
        reason = f"{half / exact:.1f} times as fast here as fp32; weights stay in float32"
        draft.choose("precision", "bf16", reason)
    in_time = facts.speed.get(draft["precision"], 0.0) * 60 * draft["minutes"]
    budget = min(PIXELS, in_time / STEPS) if in_time else PIXELS
    side = max(QUICK_SIDE, min(SIDE, 32 * int(sqrt(budget / LEAST_BATCH) / 32)))
    shown = [max(1, round(draft["zoom"] * n)) for n in facts.size]
    crop = [min(side, n) for n in shown]
    what = "the usual picture" if crop == shown else f"cut from pictures of {hxw(shown)}"
    few = f", and small for {STEPS} steps in the time" if side in crop and side < SIDE else ""
    draft.choose("crop", crop, f"{what}{few}")
    pixels = prod(_sizes(draft, facts))
    batch = max(LEAST_BATCH, min(BATCH, round(budget / pixels)))
    steps = f", about {in_time / (batch * pixels):.0f} steps in the time" if in_time else ""
    draft.choose("batch", batch, f"{batch * pixels / 1e6:.2g} million pixels a step{steps}")


def _keep_view(draft: Draft, start: Start) -> None:
    """Pictures are shown as the net to start from has learned them."""
    reason = "as the net to start from has seen pictures"
    draft.choose("zoom", start.zoom, reason)
    if start.view.zooms != (start.zoom,):
        draft.choose("zooms", list(start.view.zooms), reason)
    if start.view.mirror:
        draft.choose("mirror", True, reason)


def _zoom(facts: Facts, net: Net) -> tuple[float, str]:
    """So large that the thinnest things cover some cells; smaller where all are wide, or where a
    whole picture would not fit into memory."""
    fit = [z for z in ZOOMS if _whole_picture_bytes(net, facts.largest, z) <= _limit(facts)]
    if 1 not in fit:
        what = f"the largest picture, {hxw(facts.largest)}, does not fit into memory as it is"
        return (fit or ZOOMS)[-1 if fit else 0], f"{what} ({_free(facts)} free)"
    seen = [c for c in facts.classes if c.share >= SEEN]
    if not seen:
        return 1.0, "the labels say nothing of sizes"
    thinnest, longer, stride = min(seen, key=lambda c: c.width), max(facts.size), finest_stride(net)
    what = f"the thinnest class, `{thinnest.name}`, is {thinnest.width:.2g} px wide"
    wanted = CELLS * stride / thinnest.width
    if larger := [z for z in fit if 1 < z <= wanted and z * longer <= ENLARGED]:
        return larger[-1], f"{what}, and scores are {stride:g} px apart: enlarged, it is seen"
    if smaller := [z for z in fit if 4 * wanted <= z < 1 and z * longer >= SIDE]:
        return smaller[0], f"{what}: a smaller picture shows as much, and takes less time"
    if wanted >= ZOOMS[3]:
        return 1.0, f"{what}, but enlarged pictures would take too long, or too much memory"
    return 1.0, f"{what}, wide enough for scores {stride:g} px apart"


def fit_memory(draft: Draft, facts: Facts, net: Net) -> None:
    """Compute maps twice, drop gradients early, then shrink batch and crop, until a step fits."""
    half = draft["precision"] == "bf16"
    cached = round(CACHED * (facts.memory or inf) / 2**30, 2)
    if cached < draft["cache"]:
        draft.choose("cache", cached, f"GiB of pictures kept, of {_free(facts)} free")

    def needed() -> int:
        ways = {"checkpointed": draft["checkpoint"], "in_backward": draft["optim.in_backward"]}
        return step_bytes(net, _sizes(draft, facts), draft["batch"], half=half, **ways)

    before = needed()
    reason = f"else a step would take about {before / 2**30:.1f} GiB of {_free(facts)} free"
    if before > _limit(facts):
        draft.choose("checkpoint", True, reason)
    single = draft["accumulate"] == 1 and draft["loss.keep"] == 1 and not draft["optim.clip"]
    if needed() > _limit(facts) and single and draft["devices"] == 1:
        draft.choose("optim.in_backward", True, reason)
    while needed() > _limit(facts):
        crop, batch = _sizes(draft, facts), draft["batch"]
        if batch > LEAST_BATCH and "batch" not in draft.fixed:
            draft.choose("batch", batch - 1, reason)
        elif max(crop) > LEAST_SIDE and "crop" not in draft.fixed:
            draft.choose("crop", [min(n, max(LEAST_SIDE, max(crop) - 32)) for n in crop], reason)
        else:
            return  # training refuses it, with what would fit


def step_bytes(
    net: Net,
    size: tuple[int, int],
    batch: int,
    *,
    half: bool,
    checkpointed: bool = False,
    in_backward: bool = False,
) -> int:
    """About what a training step takes: maps, their gradients, and all that is kept of weights."""
    kept = kept_for_gradients(net, [*net.layers], *size, checkpointed=checkpointed)
    maps = kept * batch * FLOAT32 // (1 + half)
    return int(BACKWARD * maps) + (MOMENTS - in_backward) * bytes_of_weights(net)


def _whole_picture_bytes(net: Net, size: tuple[int, int], zoom: float) -> float:
    """About what labelling a picture of this size takes, as ``predict.memory`` counts it."""
    height, width = (max(1, round(zoom * n)) for n in size)
    return by_modules(net, height, width)


def _limit(facts: Facts) -> float:
    return inf if facts.memory is None else SPARE * facts.memory


def _free(facts: Facts) -> str:
    return f"{(facts.memory or 0) / 2**30:.1f} GiB"


def _sizes(draft: Draft, facts: Facts) -> Any:
    """Height and width of what is trained on."""
    return draft["crop"] or [max(1, round(draft["zoom"] * n)) for n in facts.size]


def _pixels(draft: Draft, facts: Facts) -> int:
    """Of a step."""
    return int(draft["batch"] * prod(_sizes(draft, facts)))


def steps_of(draft: Draft, facts: Facts) -> int:
    """About how many the run will have."""
    if iterations := int(draft["iterations"]):
        return iterations
    if epochs := float(draft["epochs"]):
        return max(1, ceil(epochs * facts.pictures / int(draft["batch"])))
    speed = facts.speed.get(draft["precision"], 0.0)
    return max(1, round(speed * 60 * draft["minutes"] / _pixels(draft, facts))) if speed else 1000


def finest_stride(net: Net) -> float:
    """Pixels between neighbouring cells of the finest scores."""
    scores = (name for name, layer in net.layers.items() if layer.zero_start)
    return float(min(net.sights[name].map.scale for name in scores))
