"""Small videos of a scene that moves by a pixel a frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

SIZE = (40, 56)
RATE = Fraction(25)


def scene(number: int) -> np.ndarray:
    """The frame of this number, (H, W, 3): large blocks, which lossy codecs keep."""
    blocks = np.random.default_rng(0).integers(40, 216, (SIZE[0] // 8, SIZE[1] // 8, 3), np.uint8)
    return np.roll(blocks.repeat(8, axis=0).repeat(8, axis=1), number, axis=1)


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    rate: Fraction = RATE,
    count: int = 12,
    times: Sequence[int] = (),
) -> Path:
    """``times`` of the frames, in ticks of a frame; all by default."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for i, time in enumerate(times or range(count)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene(i)), format="rgb24")
            frame.pts, frame.time_base = time, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
