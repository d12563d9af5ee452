"""Requests and answers as OpenAPI describes them, with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixelwise.serving.gate import PROBLEM

BINARY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
TEXT = {"type": "string"}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["title", "status", "code", "detail", "hint", "request"],
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "explained in docs/errors.md"},
        "detail": TEXT,
        "hint": TEXT,
        "request": {"type": "string", "description": "also in the header X-Request-Id"},
    },
}
_REASONS = {
    400: "a parameter or a form that does not fit",
    401: "no valid token",
    403: "from a page of another site",
    404: "no such model or head",
    409: "the folder of corrections holds something else",
    408: "the body did not arrive in time",
    413: "more bytes, pixels or memory than the limit",
    415: "no picture, or in a format that is not taken",
    421: "another host name",
    422: "a picture that cannot be labelled, or that the model cannot answer so",
    429: "too many requests of this client",
    500: "a fault of the service or the model",
    503: "the queue is full, or the service is being stopped",
    504: "the picture took too long",
    507: "the disk, or the folder of corrections, is full",
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _REASONS[status], "content": {PROBLEM: {"schema": _PROBLEM}}}
        for status in statuses
    }


def _object(text: str, example: Any, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"schema": schema or {"type": "object"}, "example": example}
    return {"description": text, "content": {"application/json": content}}


_EVERYWHERE = (401, 403, 413, 415, 421, 503)
HEALTH = {200: _object("it is", {"status": "ok"}), **_refusals(413, 415, 503)}
METRICS = {200: {"description": "text", "content": {"text/plain": {}}}, **_refusals(*_EVERYWHERE)}
_MODEL = {
    "name": "run",
    "net": "fcn8s-tiny",
    "task": "segmentation",
    "sha256": "0" * 64,
    "precision": "fp32",
    "inputs": ["image"],
    "bands": 3,
    "heads": {
        "labels": {
            "kind": "classes",
            "classes": ["sky", "ground"],
            "palette": [[0, 0, 255], [0, 128, 0]],
        }
    },
}
MODELS = {
    200: _object("models", {"models": [_MODEL], "corrections": False}),
    **_refusals(*_EVERYWHERE),
}
_LAYER = {
    "name": "score_fr",
    "kind": "Conv",
    "inputs": ["fc7"],
    "channels": 21,
    "parameters": 86037,
    "stride": 32,
    "shift": -83.5,
    "field": 404.0,
    "crop": None,
}
_NET = {"top": "score_fr", "layers": [_LAYER]}
NET = {200: _object("layers", _NET), **_refusals(400, 404, *_EVERYWHERE)}
_RUN = {
    **{"name": "night/a", "training": False, "net": "fcn8s-tiny", "data": "street"},
    **{"mean_iu": 0.612, "steps": 1200},
}
RUNS = {200: _object("runs", {"runs": [_RUN]}), **_refusals(*_EVERYWHERE)}
RUNS_PAGE = {
    200: {"description": "a page", "content": {"text/html": {"schema": TEXT}}},
    **_refusals(400, 404, 422, *_EVERYWHERE),
}
_CLASS = {
    "id": 1,
    "label": "ground",
    "colour": [0, 128, 0],
    "pixels": 2,
    "share": 0.5,
    "rle": {"size": [2, 2], "counts": [1, 1, 1, 1]},
}
_LABELLED = {
    "description": "in the format that was asked for",
    "content": {
        "application/json": {
            "schema": {"oneOf": [{"type": "object"}, {"type": "array"}]},
            "example": {"size": [2, 2], "classes": [_CLASS]},
        },
        "image/png": BINARY,
        "application/zip": BINARY,
    },
}
PREDICT = {200: _LABELLED, **_refusals(*(s for s in _REASONS if s not in (409, 507)))}
_KEPT = {"name": "000003", "pictures": 3}
CORRECTED = {200: _object("kept under this name", _KEPT), **_refusals(*_REASONS)}


KEEP = "correction"
"""What a worker is asked for where it is to keep a corrected label map."""
CORRECTION = ("image", "labels")
"""The fields of such a request."""
KINDS = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")


def body(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A picture's file, or a form with one for each input of a model."""
    several = [name for m in models for name in m["inputs"] if len(m["inputs"]) > 1]
    names = sorted({"image", *several})  # a model of one input takes any name
    made = form(names, required=() if several else names)
    return made | {"content": dict.fromkeys(KINDS, BINARY) | made["content"]}


def form(names: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    """A form of files."""
    fields = {
        "type": "object",
        "properties": dict.fromkeys(names, BINARY["schema"]),
        "required": list(required),
        "minProperties": 1,
        "additionalProperties": False,
    }
    encoding = {name: {"contentType": ", ".join(KINDS)} for name in names}
    content = {"multipart/form-data": {"schema": fields, "encoding": encoding}}
    return {"required": True, "content": content}
