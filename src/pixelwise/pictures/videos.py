"""Videos and cameras as frames, one at a time, and frames as a video: PyAV, which is an extra.

Frames are RGB of 8 bits, turned as the video says, each with its time. What is written is H.264 in
MP4 with the times of what was read; its colours are those that players show, a little changed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, ResourceError
from pixelwise.pictures.recognise import SUFFIXES

CAMERA = re.compile(r"camera:(\d{1,3})")
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}
"""By system where a camera lies, and what opens it."""
_FIRST = re.compile(
    rb".{4}(ftyp(?!hei|hev|mif1|msf1|avi)|moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF.{4}AVI |"
    rb"\0\0\x01\xba|\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    re.DOTALL,
)
"""How MP4 and MOV, Matroska and WebM, AVI, MPEG and WMV begin; HEIC and AVIF are pictures."""
LACKING = 0.02
"""Share of the frames that a whole file may lack of those that it tells: edit lists hide some."""
_INTO = "w"
"""Into what ``machine.files`` has opened; nothing is opened by name."""
QUALITY = {"crf": "18", "preset": "veryfast"}
"""x264's scale: 17 or 18 is nearly what was given (trac.ffmpeg.org/wiki/Encode/H.264)."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video."""

    image: NDArray[np.uint8]
    """(H, W, 3)."""
    pts: int
    """Its time, in ``Video.tick``."""


@dataclass(frozen=True, eq=False)
class Video:
    """A video while it is read."""

    frames: Iterator[Frame]
    """Raises DataError D020 where the file is damaged or ends before it should."""
    rate: Fraction
    """Frames a second, in the mean."""
    tick: Fraction
    """Seconds."""
    count: int
    """Frames, as the file says; 0: it does not."""


def is_camera(source: str) -> bool:
    """``camera:0`` and so on."""
    return CAMERA.fullmatch(source) is not None


def is_video(path: Path) -> bool:
    """A file that is no picture and begins as a video does."""
    if path.suffix.lower() in SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as f:
            return _FIRST.match(f.read(16)) is not None
    except OSError:
        return False


def readable() -> bool:
    """Whether PyAV is there."""
    return find_spec("av") is not None


@contextmanager
def opened_video(source: str) -> Iterator[Video]:
    """A file or ``camera:0``, to be read frame by frame.

    Raises:
        ResourceError: R008 PyAV is not installed, R009 there is no such camera.
        DataError: D020 it is no video that can be read.
    """
    av = _pyav()
    camera = CAMERA.fullmatch(source)
    try:
        container = _open_camera(av, camera[1]) if camera else av.open(source, options=_LOCAL)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if camera:
            hint = "plug it in, give access to it, or name another: camera:1"
            raise ResourceError("R009", f"{source}: cannot be opened ({error})", hint) from error
        raise _unreadable(source, error) from error
    with container:
        if not container.streams.video:
            raise DataError("D020", f"{source}: holds no pictures", "give a video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        count = stream.frames
        if not count and container.duration and not camera:
            count = int(container.duration / av.time_base * rate)
        tick = stream.time_base or 1 / rate
        yield Video(_frames(av, container, source, count), rate, tick, 0 if camera else count)


_LOCAL = {"protocol_whitelist": "file"}
"""A file may name others; none of the web is opened for it."""


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        what = "PyAV, which reads and writes videos, is not installed"
        raise ResourceError("R008", what, 'pip install "pixelwise[video]"') from error
    av.logging.set_level(None)  # what matters is raised
    return av


def _open_camera(av: Any, number: str) -> Any:
    if sys.platform not in _CAMERAS:
        raise ValueError(f"cameras are not read on {sys.platform}")
    place, form = _CAMERAS[sys.platform]
    return av.open(place.format(number), format=form)


def _frames(av: Any, container: Any, source: str, count: int) -> Iterator[Frame]:
    done, last = 0, -1
    try:
        for frame in container.decode(video=0):
            turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            # A frame without a time, or with one that has been, comes right after the last one.
            last = max(last + 1, frame.pts if frame.pts is not None else 0)
            yield Frame(np.ascontiguousarray(turned), last)
            done += 1
    except av.error.FFmpegError as error:
        raise _unreadable(source, error, done) from error
    if not done or done < count * (1 - LACKING) - 1:
        raise _unreadable(source, f"it ends before its {count:,} frames do", done)


def _unreadable(source: str, reason: object, done: int = 0) -> DataError:
    reason = getattr(reason, "strerror", None) or reason
    after = f" after frame {done:,}" if done else ""
    hint = "copy the file again; what was read before is kept" if done else "give a whole video"
    return DataError("D020", f"{source}: cannot be read{after} ({reason})", hint)


@contextmanager
def written_video(f: BinaryIO, like: Video) -> Iterator[Callable[[NDArray[np.uint8], int], None]]:
    """A video of pictures (H, W, 3), each given with its time, into an open file.

    The first one gives the size; a side of odd length gets its last line twice, as H.264 stores
    colours for two by two pixels.
    """
    av = _pyav()
    with av.open(f, _INTO, format="mp4") as container:
        stream = container.add_stream("libx264", rate=like.rate, options=QUALITY)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = like.tick

        def add(image: NDArray[np.uint8], pts: int) -> None:
            height, width = image.shape[:2]
            even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if not started:
                stream.height, stream.width = even.shape[:2]
                started.append(pts)
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = pts, like.tick
            container.mux(stream.encode(frame))

        started: list[int] = []
        yield add
        if started:
            container.mux(stream.encode(None))
