"""A worker of the service: it decodes pictures, carries nets out and encodes answers.

What a damaged or hostile picture can do to a decoder happens here, in a process that has no socket
and that the service starts again. It is told what to do by frames on its standard input.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np

from pixelwise.crf.parameters import crf_of_run
from pixelwise.errors import DataError, PixelwiseError, ResourceError
from pixelwise.machine.environment import use_threads
from pixelwise.machine.memory import freed_memory_kept
from pixelwise.nets.net import Net
from pixelwise.nets.record import number
from pixelwise.pictures.recognise import HEAD, kind_in
from pixelwise.predict import model as models
from pixelwise.predict.model import Model
from pixelwise.serving import frames
from pixelwise.serving.answers import SIGHTS, answer, needs_probabilities

log = logging.getLogger(__name__)

SMALL = 64
PHOTOS = ("JPEG", "PNG", "WEBP", "BMP")
"""What browsers and phones send; TIFF besides for nets on stored values."""


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


def answered(model: Model, job: Mapping[str, Any], files: Mapping[str, bytes]) -> frames.Frame:
    """Head and bytes of what one request gets."""
    begun = perf_counter()
    try:
        if job["mirror"] or job["crf"]:
            crf = crf_of_run(Path(job["run"])) if job["crf"] else None
            model = model.shown(mirror=job["mirror"] or None, crf=crf)
        wish, image = dict(job), decoded(model, files)
        if make := SIGHTS.get(job["format"]):
            kind, content = make(model, image, wish)
        else:
            whole = model.label(image, probabilities=needs_probabilities(wish))
            kind, content = answer(whole.heads.get(job["head"], whole), wish)
    except PixelwiseError as error:
        return {"error": error.as_dict()}, []
    except MemoryError:
        full = ResourceError("R003", "not enough memory for the picture", "send a smaller one")
        return {"error": full.as_dict()}, []
    except Exception:
        log.exception("request %s", job["id"])
        return {"error": {"code": "B001", "error": "an error inside pixelwise", "hint": ""}}, []
    return {"type": kind, "seconds": round(perf_counter() - begun, 6)}, [content]


def serve(
    loaded: Mapping[str, Model], runs: Mapping[str, str], questions: BinaryIO, answers: BinaryIO
) -> None:
    """Answer frames until there are no more."""
    with freed_memory_kept():
        while (frame := frames.read(questions)) is not None:
            head, blobs = frame
            rest = iter(blobs)
            for job in head["jobs"]:
                files = {name: next(rest) for name in job["files"]}
                own = {**job, "run": runs[job["model"]]}
                told, contents = answered(loaded[job["model"]], own, files)
                send(answers, {"id": job["id"], **told}, contents)


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
    serve(loaded, order["models"], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
