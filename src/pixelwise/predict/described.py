"""The net, preprocessing and view that a checkpoint's header describes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pixelwise import settings
from pixelwise.data.class_files import parsed
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.network import Network, filled
from pixelwise.engine.planned import unplanned
from pixelwise.errors import ModelError, UsageError
from pixelwise.folders import CALIBRATION
from pixelwise.nets.net import Net
from pixelwise.predict.view import Temperature, View
from pixelwise.weights import checkpoint
from pixelwise.weights.checkpoint import DAMAGED, Header
from pixelwise.weights.surgery import score_layers

log = logging.getLogger(__name__)


@settings.settings("calibration.", code="D034", others="ignore")
class Calibration:
    """What ``evaluate --calibrate`` keeps."""

    temperature: Mapping[str, Temperature]
    model: str
    """SHA-256 of the weights."""


def calibrated_view(view: View, run: Path, header: Header) -> View:
    """A view with the temperature that is kept in a run folder; of other weights it is left out."""
    place = run / CALIBRATION
    if not place.is_file():
        return view
    form = '{"temperature": {"labels": 1.3}, "model": "(its sha256)"}'
    own = parsed(place, lambda text: settings.read(Calibration, settings.parse_json(text)), form)
    if own.model != header.sha256:
        log.warning("%s is of other weights than %s has now: it is not used", place, run)
        return view
    return replace(view, temperature=own.temperature)


def described(header: Header, path: Path) -> tuple[Net, Preprocess, View]:
    """What a header of the file ``path`` says; it comes from anywhere.

    Raises:
        ModelError: M002 it does not fit itself, M040 it describes nothing that is known here.
    """
    net = checkpoint.net_of(header, path)
    try:
        view = View(**dict(header.inference))
    except (UsageError, TypeError, ValueError, OverflowError) as error:
        message = f"{path}: the header describes no view of pictures ({error})"
        hint = "pip install --upgrade pixelwise, if a newer version wrote it"
        raise ModelError("M040", message, hint) from error
    try:
        preprocess = settings.read(Preprocess, dict(header.preprocess))
    except ModelError as error:
        raise ModelError(error.code, f"{path}: {error}", error.hint) from error
    first, bands = next(iter(net.outputs)), sum(net.inputs.values())
    classes = {h: head.classes for h, head in header.heads.items()} or {first: header.classes}
    counts = [(preprocess.channels, "channel means", "channels", bands)]
    if header.inputs:
        given = sum(kind.bands for kind in header.inputs.values())
        counts.append((given, "bands of inputs", "channels", preprocess.bands_given))
    for head, names in classes.items():
        number = net.channels[net.outputs[head]]
        counts.append((len(names), "class names", "classes", number))
        for row in (k.spread, k.centre) if (k := net.kind(head)).kind == "numbers" else ():
            counts.append((len(row), "scales of numbers", "planes", number))
    for have, what, of, number in counts:
        if have != number:
            raise ModelError("M002", f"{path}: {have} {what} for {number} {of}", DAMAGED)
    return net, preprocess, view


def network_of(path: Path, net: Net, where: torch.device) -> Network:
    """The net with the weights of a checkpoint in float32; errors as of ``load_checkpoint``."""
    with torch.device("meta"):  # shapes are compared before memory is taken
        shape_only = Network(net)
    # What runs by modules is copied into another order anyway.
    mapped = not unplanned(shape_only, where)
    network = filled(net, checkpoint.load_checkpoint(path, net=shape_only, mapped=mapped)[1])
    if not any(network.get_parameter(f"{name}.weight").any() for name in score_layers(net)):
        log.warning("%s: the score layers are zero, every pixel will get one class: train it", path)
    return network
