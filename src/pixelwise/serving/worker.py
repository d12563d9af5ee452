"""A worker of the service: it decodes pictures, carries nets out and encodes answers.

What a damaged or hostile picture can do to a decoder happens here, in a process that has no socket
and that the service starts again. It is told what to do by frames on its standard input.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.crf.parameters import crf_of_run
from pixelwise.errors import DataError, PixelwiseError, ResourceError
from pixelwise.machine.environment import use_threads
from pixelwise.machine.memory import freed_memory_kept
from pixelwise.nets.net import Net
from pixelwise.nets.record import number
from pixelwise.pictures.recognise import HEAD, kind_in
from pixelwise.predict import model as models
from pixelwise.predict.model import Model
from pixelwise.predict.predictor import size_of
from pixelwise.predict.shared_pass import can_share, sharing
from pixelwise.serving import corrections, frames
from pixelwise.serving.answers import SIGHTS, answer, needs_probabilities
from pixelwise.serving.described import CORRECTION, KEEP

log = logging.getLogger(__name__)

SMALL = 64
PHOTOS = ("JPEG", "PNG", "WEBP", "BMP")
"""What browsers and phones send; TIFF besides for nets on stored values."""
ALONE = (*SIGHTS, KEEP)
"""Forms of answers for which the net is not carried out, or in another way."""
T = TypeVar("T")


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer, as ``PixelwiseError.as_dict`` says it."""

    error: dict[str, Any]


def described(name: str, model: Model) -> dict[str, Any]:
    """What clients may know of a model: no path, no history."""
    return {
        "name": name,
        "net": model.header.net,
        "task": model.task,
        "sha256": model.header.sha256,
        "precision": model.predictor.runner.precision,
        "inputs": list(model.inputs),
        "bands": model.predictor.bands,
        "heads": {
            head: {
                "kind": model.predictor.net.kind(head).kind,
                "classes": list(own.classes),
                "palette": [list(c) for c in own.palette],
            }
            for head, own in model.heads.items()
        },
    }


def drawn(net: Net) -> dict[str, Any]:
    """A net's layers, for the page that explains it; an infinite field is None."""
    crops = net.crops()
    layers = [
        {
            "name": name,
            "kind": layer.kind,
            "inputs": list(layer.inputs),
            "channels": net.channels[name],
            "parameters": sum(map(math.prod, layer.parameters(net.given_channels(layer)).values())),
            "stride": number(net.sights[name].map.scale),
            "shift": float(net.sights[name].map.shift),
            "field": net.sights[name].field if math.isfinite(net.sights[name].field) else None,
            "crop": crops.get(name),
        }
        for name, layer in net.layers.items()
    ]
    return {"top": net.top, "layers": layers}


def decoded(model: Model, files: Mapping[str, bytes]) -> Any:
    """The picture in a request's files, one for each input of the model.

    Raises:
        DataError: D015 a format that the service does not take, and those of ``Model.image``.
    """
    allowed = PHOTOS + ("TIFF",) * (model.predictor.preprocess.values == "stored")
    for data in files.values():
        kind = kind_in(data[:HEAD]) or "unknown"
        if kind not in allowed:
            what = f"the picture is a file in format {kind}, expected one of {', '.join(allowed)}"
            raise DataError("D015", what, "send it as PNG or JPEG")
    (first, *more) = files.values()
    return model.image(dict(files) if more else first)


@dataclass(eq=False)
class Request:
    """One request in a worker: its picture is decoded when it is looked at, and once."""

    model: Model
    job: Mapping[str, Any]
    files: Mapping[str, bytes]
    kept: str = ""
    """Folder for label maps that clients corrected."""
    seconds: float = 0.0
    """Spent on it so far."""

    @cached_property
    def picture(self) -> NDArray[Any] | Refusal:
        """What the model looks at."""
        shown = {name: data for name, data in self.files.items() if name != CORRECTION[1]}
        return self._tried(lambda: decoded(self.model, shown))

    @cached_property
    def shape(self) -> tuple[object, ...]:
        """Equal of those that may go through the net at once; empty: it goes alone."""
        job, picture = self.job, self.picture
        alone = job["format"] in ALONE or job["mirror"] or job["crf"]
        if alone or isinstance(picture, Refusal):
            return ()
        fits = self._tried(lambda: can_share(self.model.predictor, size_of(picture)))
        return (job["model"], *size_of(picture)) if fits is True else ()

    def answered(self) -> frames.Frame:
        """Head and bytes of what it gets."""
        made = self._tried(self._made)
        if isinstance(made, Refusal):
            return {"error": made.error}, []
        kind, content = made
        return {"type": kind, "seconds": round(self.seconds, 6)}, [content]

    def _made(self) -> tuple[str, bytes] | Refusal:
        job, model, picture = dict(self.job), self.model, self.picture
        if isinstance(picture, Refusal):
            return picture
        if job["mirror"] or job["crf"]:
            crf = crf_of_run(Path(job["run"])) if job["crf"] else None
            model = model.shown(mirror=job["mirror"] or None, crf=crf)
        if job["format"] == KEEP:
            folder, labels = Path(self.kept), self.files[CORRECTION[1]]
            return corrections.keep(folder, model, job["head"], picture, labels)
        if make := SIGHTS.get(job["format"]):
            return make(model, picture, job)
        whole = model.label(picture, probabilities=needs_probabilities(job))
        return answer(whole.heads.get(job["head"], whole), job)

    def _tried(self, make: Callable[[], T]) -> T | Refusal:
        begun = perf_counter()
        try:
            return make()
        except PixelwiseError as error:
            return Refusal(error.as_dict())
        except MemoryError:
            full = ResourceError("R003", "not enough memory for the picture", "send a smaller one")
            return Refusal(full.as_dict())
        except Exception:
            log.exception("request %s", self.job["id"])
            return Refusal({"code": "B001", "error": "an error inside pixelwise", "hint": ""})
        finally:
            self.seconds += perf_counter() - begun


def in_one_pass(requests: Sequence[Request]) -> Sequence[Request]:
    """The same requests, for whose pictures the net was carried out once."""
    begun, model = perf_counter(), requests[0].model
    pictures = [r.picture for r in requests if not isinstance(r.picture, Refusal)]
    try:
        shown = sharing(model.predictor, pictures) if len(pictures) > 1 else []
    except (PixelwiseError, MemoryError):  # whose fault it is, each finds out alone
        return requests
    for request, predictor in zip(requests, shown, strict=False):
        request.model = replace(model, predictor=predictor)
        request.seconds += (perf_counter() - begun) / len(requests)
    return requests


def serve(
    loaded: Mapping[str, Model],
    runs: Mapping[str, str],
    questions: BinaryIO,
    answers: BinaryIO,
    kept: str = "",
) -> None:
    """Answer frames until there are no more; ``kept`` is the folder of corrections."""
    with freed_memory_kept():
        while (frame := frames.read(questions)) is not None:
            head, blobs = frame
            rest = iter(blobs)
            # One by one, so that a large picture is answered before the next is decoded.
            requests = (
                Request(
                    loaded[job["model"]],
                    {**job, "run": runs[job["model"]]},
                    {name: next(rest) for name in job["files"]},
                    kept,
                )
                for job in head["jobs"]
            )
            for shape, alike in groupby(requests, key=lambda request: request.shape):
                for request in in_one_pass([*alike]) if shape else alike:
                    told, contents = request.answered()
                    send(answers, {"id": request.job["id"], **told}, contents)


def send(answers: BinaryIO, head: dict[str, Any], blobs: Iterable[bytes] = ()) -> None:
    """Write one frame."""
    answers.writelines(frames.packed(head, list(blobs)))
    answers.flush()


def warm(model: Model) -> None:
    """Compile kernels and pack weights, so that the first client does not wait for it."""
    with suppress(PixelwiseError):  # of a net that takes no picture so small
        model.label(np.zeros((SMALL, SMALL, model.predictor.bands), np.uint8))


def confined() -> None:
    """No core files, and no rights by programs that would be started (Linux)."""
    with suppress(ImportError, ValueError, OSError, AttributeError):
        import ctypes
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, linux/prctl.h


def main() -> None:
    """Load the models that the first frame names, say what they are, and serve."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    confined()
    first = frames.read(sys.stdin.buffer)
    assert first is not None
    order = first[0]
    try:
        use_threads(order["threads"])
        options = {k: order[k] for k in ("device", "precision", "memory")}
        loaded = {n: models.load(Path(p), **options) for n, p in order["models"].items()}
    except PixelwiseError as error:
        kind = type(error).__name__
        send(answers, {"error": error.as_dict(), "kind": kind})
        return
    for model in loaded.values():
        warm(model)
    told = [described(n, m) for n, m in loaded.items()]
    nets = {n: drawn(m.predictor.net) for n, m in loaded.items()}
    send(answers, {"models": told, "nets": nets})
    serve(loaded, order["models"], sys.stdin.buffer, answers, order["corrections"])


if __name__ == "__main__":
    main()
