"""What commands are given, read: models, sizes, and parts of nets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pixelwise.errors import UsageError

if TYPE_CHECKING:
    from pixelwise.predict.components import Sieve
    from pixelwise.predict.model import Model


def load_model(
    path: Path,
    others: Sequence[Path] = (),
    view: Mapping[str, Any] = MappingProxyType({}),
    *,
    crf: bool = False,
    precision: str,
    device: str,
    threads: int,
) -> Model:
    """The model that a command was given, or the ensemble with others, used as its options say.

    Of the fields of ``view`` those that say nothing stay as each model has them.
    """
    from pixelwise.crf.parameters import crf_of_run
    from pixelwise.machine.environment import use_threads
    from pixelwise.predict import model as models
    from pixelwise.predict.ensembles import ensemble

    use_threads(threads)
    each = [models.load(p, device=device, precision=precision) for p in (path, *others)]
    chosen = crf_of_run(path) if crf else None
    changes = {name: value for name, value in {**view, "crf": chosen}.items() if value}
    made = ensemble(each)
    return replace(made, predictor=made.predictor.shown(changes))


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` to two numbers; U002 another form, or a length of zero."""
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip().lower())
    if match is None:
        raise UsageError("U002", f"size is `{text}`, expected height x width", "--size 375x500")
    return int(match[1]), int(match[2])


def parse_length(text: str) -> tuple[float, str] | None:
    """``0.5um`` to number and unit, which may be missing; None of nothing, U002 another form."""
    match = re.fullmatch(r"(\d*\.?\d+(?:e-?\d+)?)\s*([a-zA-Z\u00b5\u03bc]*)", text.strip())
    if text and (match is None or not 0 < float(match[1]) < float("inf")):
        what = f"--pixel-size is `{text}`, expected a length above zero, with its unit"
        raise UsageError("U002", what, "--pixel-size 0.5um")
    return (float(match[1]), match[2]) if match else None


def sieve_of(
    reject: float | None, min_area: str, fill_holes: str, pixel: tuple[float, str] | None = None
) -> Sieve | None:
    """What labels have to pass; None: nothing was asked for. U002 what is out of range."""
    from pixelwise.predict.components import Sieve

    small, holes = _area(min_area, "--min-area", pixel), _area(fill_holes, "--fill-holes", pixel)
    sieve = Sieve(holes, small, reject or 0.0)
    return sieve if sieve != Sieve() else None


def _area(text: str, option: str, pixel: tuple[float, str] | None) -> int:
    """``50`` pixels, or ``12um2`` by the side of a pixel, as pixels; 0 of nothing."""
    match = re.fullmatch(r"(\d*\.?\d+)\s*(?:([a-zA-Z\u00b5\u03bc]+)2)?", text.strip())
    unit = match[2] if match else ""
    if text and (match is None or (unit and (pixel is None or unit != pixel[1]))):
        what = f"{option} is `{text}`, expected pixels, or an area in the unit of --pixel-size"
        raise UsageError("U002", what, f"{option} 50, or {option} 12um2 --pixel-size 0.5um")
    area = float(match[1]) if match else 0.0
    return round(area / pixel[0] ** 2 if unit and pixel else area)


def parse_bytes(text: str, option: str = "--max-memory") -> int:
    """``2GiB`` or ``500MB`` to bytes, 0 of nothing; U002 another form."""
    match = re.fullmatch(r"(\d*\.?\d+)\s*(?:([kmgt])(i?)b?|b)", text.strip().lower())
    if text and (match is None or not float(match[1])):
        what = f"{option} is `{text}`, expected a size above zero, with its unit"
        raise UsageError("U002", what, f"{option} 2GiB")
    power = " kmgt".index(match[2] or " ") if match else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power) if match else 0


def parse_parts(text: str, option: str) -> dict[str, int]:
    """``sem=33,geo=3`` to name and number; U002 another form, or a name that is given twice."""
    parts = [re.fullmatch(r"([\w-]+)=(\d{1,6})", part.strip()) for part in text.split(",")]
    read = {match[1]: int(match[2]) for match in parts if match}
    if len(read) < len(parts):
        example = f"{option} {'sem=33,geo=3' if option == '--heads' else 'color=3,hha=3'}"
        problem = f"{option} is `{text}`, expected each name once, with its number"
        raise UsageError("U002", problem, example)
    return read


def parse_factors(text: str) -> tuple[int, ...]:
    """``32,16`` to numbers, each once; U002 another form, or one below 1."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{0,4}", part) for part in parts):
        message = f"--factors is `{text}`, expected whole numbers from 1 on, after commas"
        raise UsageError("U002", message, "--factors 32,16,8")
    return tuple(dict.fromkeys(map(int, parts)))
