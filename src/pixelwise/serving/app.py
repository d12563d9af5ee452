"""The application: what is asked of a service, and how it answers (FastAPI)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.exceptions import HTTPException

from pixelwise import __version__
from pixelwise.serving import described
from pixelwise.serving.crew import Crew, Job, Refused
from pixelwise.serving.gate import PROBLEM, Gate, NotAllowed, problem, runs_cookie
from pixelwise.serving.limits import Limits
from pixelwise.serving.page import POLICY, page
from pixelwise.serving.runs import ROUTES, Runs

STATUS = {
    **{"U001": 404, "U003": 409, "M040": 409, "D015": 415, "D022": 413, "R003": 413},
    **{"N003": 500, "B001": 500, "R001": 507, "R002": 507},
}
"""Of an answer to a picture, by the code of its error; others are 422."""
FIELDS = 8  # of a form
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)  # of the histogram


@dataclass(frozen=True)
class Wish:
    """What a client wants to know of a picture."""

    model: Annotated[str, Query(description="one of /v1/models; by default the first")] = ""
    head: Annotated[str, Query(description="of a model of several; by default the first")] = ""
    format: Annotated[
        Literal[
            "json", "png", "overlay", "confidence", "heat", "npz", "huggingface", "streams", "field"
        ],
        Query(
            description="json: classes with areas and masks; png: label map with a palette; "
            "overlay: the picture in the classes' colours; confidence, heat: grey, 255 is sure, of "
            "the best class or of `class`; npz: arrays; huggingface: the task image-segmentation; "
            "streams: the best class of each cell of each layer of scores; field: where the cell "
            "of `layer` nearest to the pixel `at` looks, grey"
        ),
    ] = "json"
    masks: Annotated[
        Literal["rle", "png", "none"],
        Query(description="of json: COCO's uncompressed run lengths, one PNG, or no masks"),
    ] = "rle"
    of_class: Annotated[
        str,
        Query(
            alias="class", description="of heat: name or number; else the largest", max_length=200
        ),
    ] = ""
    probabilities: Annotated[
        bool, Query(description="npz: of each class at each pixel; json: their means")
    ] = False
    mirror: Annotated[bool, Query(description="mean with the mirror image; twice the time")] = False
    crf: Annotated[bool, Query(description="refine by a dense CRF; a second or two")] = False

    layer: Annotated[
        str, Query(description="of field: one of /v1/net; by default the last", max_length=200)
    ] = ""
    at: Annotated[
        str,
        Query(
            description="of field: column,row of a pixel of the picture (422: it has no such one)",
            pattern=r"^[0-9]{1,5},[0-9]{1,5}$",
        ),
    ] = "0,0"

    def as_dict(self) -> dict[str, Any]:
        """As workers read it."""
        told = asdict(self)
        return {**told, "class": told.pop("of_class")}


class Measures:
    """Numbers of a service, as Prometheus reads them."""

    def __init__(self, crew: Crew) -> None:
        self.registry = CollectorRegistry()
        names = ["route", "status"]
        self._requests = Counter(
            "pixelwise_requests", "Requests answered", names, registry=self.registry
        )
        self._seconds = Histogram(
            *("pixelwise_request_seconds", "From first byte to last", ["route"]),
            buckets=SECONDS,
            registry=self.registry,
        )
        for name, text, value in (
            ("waiting", "Requests in the queue", lambda: len(crew.waiting)),
            ("computing", "Requests in a worker", lambda: len(crew.computed)),
            ("worker_restarts", "Workers that were started again", lambda: crew.restarts),
        ):
            gauge = Gauge(f"pixelwise_{name}", text, registry=self.registry)
            gauge.set_function(value)

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


def application(
    crew: Crew,
    limits: Limits,
    *,
    hosts: frozenset[str],
    token: str = "",
    runs: Runs | None = None,
) -> Gate:
    """The whole service before ``crew``, whose workers run already.

    Args:
        crew: what computes.
        limits: what a request may cost.
        hosts: names by which the service may be asked for.
        token: that requests must bear, or empty.
        runs: that can be looked at.
    """
    app = FastAPI(
        title="pixelwise",
        version=__version__,
        summary="Label every pixel of a picture.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        lifespan=_until_the_end,
    )
    app.state.crew, app.state.draining, app.state.runs = crew, False, runs
    app.state.cookie = {"set-cookie": runs_cookie(token)} if token else {}
    app.state.measures = measures = Measures(crew)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(NotAllowed, _not_allowed)
    app.add_api_route("/healthz", healthz, responses=described.HEALTH)
    app.add_api_route("/readyz", readyz, responses=described.HEALTH)
    app.add_api_route("/metrics", metrics, responses=described.METRICS)
    app.add_api_route("/v1/models", models, responses=described.MODELS)
    app.add_api_route("/v1/net", net, responses=described.NET)
    app.include_router(ROUTES)
    files = page()
    for path, (kind, content) in files.items():
        app.add_api_route(path, _file(kind, content), include_in_schema=False)
    bodies: list[tuple[str, Callable[..., Any], dict[int | str, Any], dict[str, Any]]] = [
        ("/v1/predict", predict, described.PREDICT, described.body(crew.models))
    ]
    if crew.corrected:
        form = described.form(*2 * [described.CORRECTION])
        bodies.append(("/v1/corrections", correct, described.CORRECTED, form))
    for path, answer, responses, body in bodies:
        extra = {"requestBody": body}
        app.add_api_route(path, answer, methods=["POST"], responses=responses, openapi_extra=extra)

    def busy(client: str) -> NotAllowed | None:
        refused = crew.full(client)
        return _full(*refused.args) if refused else None

    return Gate(app, limits, hosts, token, frozenset(files), busy, measures.seen)


@asynccontextmanager
async def _until_the_end(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.crew.stop()


async def healthz() -> Response:
    """Whether the service's process runs."""
    return _json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether the next picture would be labelled."""
    state = request.app.state
    if state.crew.ready and not state.draining:
        return _json({"status": "ready"})
    why = "it is being stopped" if state.draining else "no worker runs"
    return _problem(request, 503, ("R013", f"the service is not ready: {why}"))


async def metrics(request: Request) -> Response:
    """Counts and times, for Prometheus."""
    text = generate_latest(request.app.state.measures.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def models(request: Request) -> Response:
    """What is served: classes, colours, heads, inputs."""
    crew: Crew = request.app.state.crew
    return _json({"models": crew.models, "corrections": crew.corrected})


async def net(
    request: Request,
    model: Annotated[str, Query(description="one of /v1/models; by default the first")] = "",
) -> Response:
    """A model's layers: strides, receptive fields, parameters, crops."""
    nets = request.app.state.crew.workers[0].nets
    name = model or next(iter(nets))
    if name not in nets:
        raise NotAllowed(404, "U001", "no such model is served", "GET /v1/models")
    return _json(nets[name])


def _file(kind: str, content: bytes) -> Callable[[], Coroutine[Any, Any, Response]]:
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}

    async def file() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return file


async def predict(request: Request, wish: Annotated[Wish, Depends()]) -> Response:
    """Label a picture: its file as the body, or in a form (a field for each input)."""
    told, model = _named(request, wish)
    files = await _files(request, model["inputs"])
    head, content = await _computed(request, told, files)
    headers = {"server-timing": f"compute;dur={1e3 * head['seconds']:.1f}"}
    if head["type"] == "application/zip":
        headers["content-disposition"] = 'attachment; filename="labels.npz"'
    return Response(content, media_type=head["type"], headers=headers)


async def correct(
    request: Request,
    model: Annotated[str, Query(description="one of /v1/models; by default the first")] = "",
    head: Annotated[str, Query(description="of a model of several; by default the first")] = "",
) -> Response:
    """Keep a picture and its corrected label map as training data (``--corrections``)."""
    told, _ = _named(request, Wish(model=model, head=head))
    files = await _files(request, list(described.CORRECTION))
    _, content = await _computed(request, told | {"format": described.KEEP}, files)
    return Response(content, media_type="application/json")


def _named(request: Request, wish: Wish) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a worker is told, with model and head by their names; and the model."""
    crew: Crew = request.app.state.crew
    known = {m["name"]: m for m in crew.models}
    told = wish.as_dict() | {"model": wish.model or next(iter(known))}
    if told["model"] not in known:
        raise NotAllowed(404, "U001", "no such model is served", "GET /v1/models")
    model = known[told["model"]]
    told["head"] = wish.head or next(iter(model["heads"]))
    if told["head"] not in model["heads"]:
        hint = f"heads: {', '.join(model['heads'])}"
        raise NotAllowed(404, "U001", "the model has no such head", hint)
    return told, model


async def _computed(
    request: Request, told: dict[str, Any], files: dict[str, bytes]
) -> tuple[dict[str, Any], bytes]:
    """A worker's answer: what is said of it, and its bytes."""
    crew: Crew = request.app.state.crew
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    client = request.client.host if request.client else ""
    job = Job(request.state.request, told, files, client, answer)
    head, contents = await _answer(crew, job, request)
    if "error" in head:
        error = head["error"]
        status = STATUS.get(error["code"], 422)
        raise NotAllowed(status, error["code"], error["error"], error["hint"])
    if head.get("ended") == "slow":
        what = f"the picture took longer than {crew.limits.computing:.0f} seconds"
        raise NotAllowed(504, "R013", what, "send a smaller one")
    if "ended" in head:
        raise NotAllowed(500, "R010", "a worker ended over this picture")
    return head, contents[0]


async def _answer(crew: Crew, job: Job, request: Request) -> Any:
    """The worker's answer; of a client that goes away the place in the queue is given up."""
    asked = asyncio.ensure_future(crew.answered(job))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ConnectionResetError
        return asked.result()
    except Refused as error:
        raise _full(*error.args) from None
    finally:
        asked.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _files(request: Request, inputs: list[str]) -> dict[str, bytes]:
    """The picture's files by input: the body, or the form's fields."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=len(inputs), max_fields=FIELDS) as form:
            uploads = {k: v for k, v in form.items() if not isinstance(v, str)}
            files = {name: await upload.read() for name, upload in uploads.items()}
        if len(inputs) == 1 and len(files) == 1:
            files = dict.fromkeys(inputs, *files.values())
    elif kind.startswith("image/") or kind == "application/octet-stream":
        files = {inputs[0]: await request.body()}
    else:
        hint = "curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg', or -F image=@cat.jpg"
        raise NotAllowed(415, "D015", "the body is neither a picture nor a form", hint)
    if set(files) != set(inputs) or not all(files.values()):
        what = f"expected a file for each of: {', '.join(inputs)}"
        raise NotAllowed(400, "U002", what, "curl -F image=@cat.jpg")
    return files


def _full(status: int, wait: int) -> NotAllowed:
    whose = "of this client " if status == 429 else ""
    what = f"as many requests {whose}as the queue holds are waiting"
    return NotAllowed(status, "R013", what, f"ask again in {wait} s", wait)


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type="application/json")


def _problem(
    request: Request, status: int, told: Sequence[str], headers: Mapping[str, str] | None = None
) -> Response:
    code, detail, hint = (*told, "")[:3]
    body = problem(status, code, detail, hint, request.state.request)
    return Response(body, status, dict(headers or {}), PROBLEM)


async def _http_problem(request: Request, error: Exception) -> Response:
    """No such route or method, or a form that is none."""
    assert isinstance(error, HTTPException)
    code = "U001" if error.status_code in (404, 405) else "U002"
    return _problem(request, error.status_code, (code, error.detail), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"][1:]))
    told = ("U002", f"{name}: {first['msg']}", "GET /openapi.json")
    return _problem(request, 400, told)


async def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    headers = {"retry-after": str(error.wait)} if error.wait else None
    return _problem(request, error.status, error.told, headers)
