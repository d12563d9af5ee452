"""A video labelled frame by frame: memory for one frame, however long it is.

``labels`` writes the label map of each frame, NAME/000001.png and so on, ``overlay`` a video with
the times of the frames. A file that is damaged is labelled as far as it can be read; a video that
is interrupted leaves its label maps, which are whole, and no video of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.machine.files import atomic_write
from pixelwise.machine.signals import Caught
from pixelwise.pictures import images
from pixelwise.pictures.videos import (
    Frame,
    Video,
    is_camera,
    opened_video,
    written_video,
)
from pixelwise.predict.components import sieved
from pixelwise.predict.grid import nearest
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.saving import Target, label_text
from pixelwise.weights.checkpoint import HeadClasses

KINDS = ("labels", "overlay")
"""What is saved of a video."""
OVERLAY = "_overlay.mp4"
Add = Callable[[NDArray[np.uint8], int], None]


@dataclass
class Labelled:
    """What was made of a video."""

    files: dict[str, list[Path]]
    """By ``saving.parts``."""
    frames: int = 0
    problem: DataError | None = None
    """Why it ended before its time."""


def frame_place(out: Path, name: str, number: int) -> Path:
    """Where the label map of a frame is, the first of which has number 1."""
    return out / name / f"{number:06}.png"


def label_video(
    model: Model,
    source: str,
    parts: Sequence[str],
    to: Target,
    stop: Caught,
    watch: Callable[..., object],
) -> Labelled:
    """Label a file, or a camera until a signal comes.

    Raises:
        DataError: D020 not one frame can be read, or of a frame what ``Model.predict`` raises.
        ResourceError: R008 PyAV is not installed, R009 no such camera, R001, R002.
        Stopped: a signal came while a file was read.
    """
    done = Labelled({part: [] for part in parts})
    label = _Labeller(model, parts, to, done)
    with opened_video(source) as video:
        frames = _until(stop, video, source, done, watch)
        _overlays([p for p in parts if p.endswith("overlay")], {}, video, label, frames)
    return done


def _until(
    stop: Caught, video: Video, source: str, done: Labelled, watch: Callable[..., object]
) -> Iterator[Frame]:
    """The frames of a video until it ends, fails, or a signal comes."""
    of = f" of {video.count:,}" if video.count else ""
    try:
        for frame in video.frames:
            yield frame
            done.frames += 1
            watch(0, f"{Path(source).name}: frame {done.frames:,}{of}")
            if stop.signal and is_camera(source):  # which has no other end
                return
            message = f"{source}: stopped after frame {done.frames:,}{of}; no video was written"
            stop.refuse(message, "run the same command again, it begins anew")
    except DataError as error:
        if not done.frames:
            raise
        done.problem = error


def _overlays(
    shown: Sequence[str],
    adds: Mapping[str, Add],
    video: Video,
    label: _Labeller,
    frames: Iterator[Frame],
) -> None:
    """Label the frames while the videos of all heads are open, one within the other."""
    if not shown:
        for frame in frames:
            label(frame, adds)
        return
    part, *others = shown

    def write(f: BinaryIO) -> None:
        with written_video(f, video) as add:
            _overlays(others, {**adds, part: add}, video, label, frames)

    place = label.folder(part) / f"{label.to.name}{OVERLAY}"
    label.done.files[part].append(atomic_write(place, write))


@dataclass
class _Labeller:
    """Labels frames one after the other; what it remembers is the mean of probabilities."""

    model: Model
    parts: Sequence[str]
    to: Target
    done: Labelled
    before: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def folder(self, part: str) -> Path:
        """Where a head's outputs go."""
        return self.to.out / part.rpartition("/")[0]

    def __call__(self, frame: Frame, adds: Mapping[str, Add]) -> None:
        damp = self.to.drawing.damp
        whole = self.model.predict(frame.image, probabilities=damp > 0)
        for number, (head, made) in enumerate((whole.heads or {"": whole}).items()):
            front = f"{head}/" if number else ""
            shown = self._damped(front, made, damp) if damp else made
            if (part := f"{front}labels") in self.parts:
                place = frame_place(self.folder(part), self.to.name, self.done.frames + 1)
                palette, text = np.array(shown.palette, np.uint8), label_text(shown, self.to.header)
                images.write_labels(place, shown.labels, palette, text=text)
                self.done.files[part].append(place)
            if add := adds.get(f"{front}overlay"):
                add(self._drawn(shown), frame.pts)

    def _damped(self, head: str, made: Prediction, share: float) -> Prediction:
        """Labels of the exponential mean of probabilities over frames, the last weighing most."""
        now, before = made.probabilities, self.before.get(head)
        assert now is not None
        if before is not None and before.shape == now.shape:
            now = share * before + (1 - share) * now
        self.before[head] = now
        best = now.argmax(0).astype(made.labels.dtype)
        height, width = made.labels.shape
        labels = nearest(best, made.grid, (height, width))
        return replace(made, labels=sieved(labels, self.model.predictor.view.sieve, now.max(0)))

    def _drawn(self, made: Prediction) -> NDArray[np.uint8]:
        """An overlay of one size for all frames: with the legend of all classes if it fits."""
        own = HeadClasses(made.classes, made.palette)
        covered = self.to.drawing.tinted(made.image, made.labels, own)
        framed = images.draw_legend(covered, made.classes, np.array(made.palette, np.uint8))
        return framed if framed.shape[0] == covered.shape[0] else covered
