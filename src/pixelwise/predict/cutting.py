"""How a picture is cut whose maps do not fit into memory whole: in bands of rows, or in blocks too.

The picture and its labels are whole in memory, of some bytes a pixel; maps take a hundred times as
many and never are.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from pixelwise.engine.layout import layout_for
from pixelwise.engine.memory import FLOAT32
from pixelwise.engine.needs import of_layout
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.spans import Span
from pixelwise.engine.streaming import STRIP, Stream
from pixelwise.errors import ResourceError, hxw
from pixelwise.machine import memory
from pixelwise.predict.memory import HINT

log = logging.getLogger(__name__)

BANDS = tuple(2**n for n in (24, 22, 20, 0))
"""Bytes of a map that are computed at a time, best first: FCN-8s-VGG16 took 1.1 times as long as
whole in bands of 4 and 16 MiB, 1.7 times in bands of 1 MiB (1000x1000)."""
BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Into so many blocks columns are cut where rows alone do not fit."""
SOON, SLACK = 2048, 1.1
"""Rows of labels on which memory is estimated, and how much more a longer picture may hold."""


def cut(runner: PlannedRunner, size: tuple[int, int]) -> list[Stream]:
    """A stream for each block of columns, the first way that fits into the memory that there is.

    Raises:
        ResourceError: R003 none does, with the least that would.
    """
    height, width = size
    memory.give_back()  # what is kept counts as taken
    room = memory.available(torch.device("cpu")) or 0
    whole = Stream(layout_for(runner.plan, 1, *size), Span(0, height), Span(0, width), BANDS[0])
    pixel, tried = 1 + (1 + FLOAT32) * sum(runner.net.inputs.values()), list[int]()
    needs = of_layout(whole.layout, runner.memory)
    net = runner.net
    made = sum(
        FLOAT32 * net.channels[layer] if net.kind(head).measured else 1
        for head, layer in net.outputs.items()
    )
    # What is made, a strip of what the net is shown, and what convolutions hold beside the maps.
    around = made * height * width + STRIP * width * pixel + needs.work - height * width * pixel
    around += 0 if runner.packed else needs.weights
    for count, band in ((n, b) for n in BLOCKS for b in (BANDS if n == 1 else BANDS[-2:])):
        if count > max(1, width // STRIP):  # narrower than strips are tall
            break
        ends = [round(i * width / count) for i in range(count + 1)]
        blocks = [Span(*ends[i : i + 2]) for i in range(count)]
        # One in the middle has neighbours on both sides, and soon holds all that it ever will.
        middle, soon = blocks[count // 2], Span(0, min(height, SOON))
        held = replace(whole, rows=soon, columns=middle, band=band).held
        tried.append(around + int(SLACK * held))
        if tried[-1] <= room:
            how = "bands of rows" if count == 1 else f"{count} blocks of columns"
            text = "a picture of %s (HxW) is labelled in %s, which take %.0f MB; there are %.0f MB"
            log.warning(text, hxw(size), how, tried[-1] / 1e6, room / 1e6)
            return [replace(whole, columns=block, band=band) for block in blocks]
    what = f"a picture of {hxw(size)} (HxW) needs at least {min(tried):,} bytes, cut into parts"
    larger = "a larger --max-memory, of which the program takes a part itself; or "
    hint = (larger if memory.process_limit() else "") + HINT
    raise ResourceError("R003", f"{what}; {room:,} are available on cpu", hint)
