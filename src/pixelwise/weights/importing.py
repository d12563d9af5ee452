"""Foreign weights made into a checkpoint: read, planned, carried out, written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pixelwise.data.prepare.catalog import RECORDS
from pixelwise.data.preprocess import CAFFE, PUBLISHED, Preprocess
from pixelwise.engine.build import build
from pixelwise.engine.modules import make
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError, UsageError, first_few, unknown_name
from pixelwise.labels import default_names
from pixelwise.nets import catalog
from pixelwise.nets.fusion import Inflation, late_streams
from pixelwise.nets.net import Net
from pixelwise.settings import as_dict, decoded, read
from pixelwise.weights import surgery
from pixelwise.weights.checkpoint import HeadClasses, Header, save_checkpoint
from pixelwise.weights.load import Foreign, read_weights
from pixelwise.weights.names import layer_of
from pixelwise.weights.recognition import net_options, recognise_net
from pixelwise.weights.sniff import weight_file
from pixelwise.weights.streams import files_by_stream, refuse_other_streams, together
from pixelwise.weights.surgery import Transplant

_DATA = {"voc": "voc", "nyud": "nyudv2", "siftflow": "siftflow", "pascalcontext": "context"}
"""How the names of released nets begin, to what ``data prepare`` calls the data."""
MAX_NAMES_FILE = 4 << 20  # bytes; ImageNet's thousand names take 30 kB


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    out: Path
    foreign: Foreign
    header: Header
    transplant: Transplant | None = None
    """None when the blobs were stored under the file's own names."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "out": str(self.out),
            "kind": self.foreign.kind,
            "name": self.foreign.name,
            "parameters": self.foreign.parameters,
            "notes": list(self.foreign.notes),
            "net": self.header.net,
            "options": dict(self.header.options),
            "transplant": self.transplant.as_dict() if self.transplant else None,
        }


def import_weights(
    path: Path | str,
    out: Path | str,
    *,
    net: str = "",
    classes: int | None = None,
    class_names: Sequence[str] = (),
    preprocess: str = "",
    force: bool = False,
) -> Imported:
    """Read any file that ``read_weights`` reads and write the checkpoint ``out``.

    Without ``net`` it is the one that the file was made for (its header, or ``recognise_net``);
    where that is none of the catalogue, the blobs are stored under the file's own names. By default
    there are as many classes as the file's score layer has, and ``preprocess`` (caffe, imagenet, or
    plain: RGB, 0..255, as it is; or a released net's) is what the file's origin says. ``force``
    replaces what is at ``out``, but never the file that is read.

    Raises:
        ModelError: what ``read_weights`` raises; M040 the file does not fit the net, or not
            all of the trunk is in it.
        UsageError: U001 unknown net or preprocessing, U002 other numbers of names and classes, or
            several nets that the file may be for; U003 ``out`` exists.
    """
    path, out = weight_file(Path(path)), Path(out)
    _refuse_taken(out, path, force=force)
    foreign = read_weights(path)
    if not net and foreign.header:
        net = foreign.header.net
    if not net and (net := recognise_net(foreign, path)):
        note = f"these are the layers of {net}; --net would name another"
        foreign = replace(foreign, notes=(*foreign.notes, note))
    if classes and not net:
        raise UsageError("U002", "classes are of a net, and none is named", "add --net NAME")
    if not net:  # loose blobs: a net of the user's own can be filled from them
        inputs = preprocess_of(foreign, "", stated=preprocess)
        header = Header("", classes=tuple(class_names), preprocess=inputs)
        return Imported(save_checkpoint(out, foreign.tensors, header), foreign, header)
    options = net_options(foreign, net, classes, class_names)
    with torch.device("meta"):  # a file that does not fit is refused before memory is taken
        module = build(net, **options)
    transplant = surgery.plan(
        foreign.tensors, module, names=foreign.names, has_factors=foreign.has_factors
    )
    _refuse_misfits(transplant, foreign, module.net, path)
    if gaps := surgery.without_values(transplant, module.net):
        # A checkpoint whose trunk is partly random would look like one that was trained.
        raise ModelError(
            "M040",
            f"{path}: {len(gaps)} tensors of the net are not in the file: {first_few(gaps)}",
            "choose the net it was made for; `pixelwise train --weights` takes what fits",
        )
    bands = sum(module.net.inputs.values())
    pixels = preprocess_of(foreign, net, stated=preprocess, channels=bands)
    heads = _heads(foreign, net, module.net, class_names)
    header = _header(foreign, Header(net, options, preprocess=pixels), heads)
    state = _state(surgery.fitted(transplant, foreign.tensors), module)
    return Imported(save_checkpoint(out, state, header), foreign, header, transplant)


def _refuse_taken(out: Path, path: Path, *, force: bool) -> None:
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError("U003", f"{out} is the file to be read", "choose another -o")
    if out.exists() and not force:
        raise UsageError("U003", f"{out} exists already", "choose another -o, or --force")


def _state(given: Mapping[str, Tensor], module: Network) -> dict[str, Tensor]:
    """The state dict of ``module``, which is on meta: the file's tensors, the rest as it begins.

    Only layers that the file leaves open are made, with the same values at every import.
    """
    wanted = module.state_dict()
    state: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name in sorted({layer_of(n) for n in set(wanted) - set(given)}):
            layer = module.net.layers[name]
            fresh = make(layer, module.net.given_channels(layer)).float().state_dict()
            state |= {f"{name}.{k}": v for k, v in fresh.items()}
    return state | {name: tensor.to(wanted[name].dtype) for name, tensor in given.items()}


def _header(foreign: Foreign, plain: Header, heads: Mapping[str, HeadClasses]) -> Header:
    """``plain`` with what the labels of its heads mean, and of a checkpoint what its inputs are."""
    own, first = foreign.header, next(iter(heads.values()))
    named = dict(heads) if len(heads) > 1 else {}
    if own and len(own.heads) == len(heads) == 1:  # it keeps the name that its data gave it
        named = dict.fromkeys(own.heads, first)
    inputs = own.inputs if own and own.net == plain.net else {}
    return replace(plain, classes=first.classes, palette=first.palette, heads=named, inputs=inputs)


def _heads(
    foreign: Foreign, name: str, net: Net, class_names: Sequence[str]
) -> dict[str, HeadClasses]:
    """Classes and colours of each head: those given, the file's own, or of a released net's data.

    Where nobody names them they are numbers.
    """
    own = foreign.header or Header("")
    prepared = RECORDS.get(_DATA.get(name.partition("-")[0], ""))
    maps = prepared.class_maps if prepared and catalog.entry(name).options else {}
    heads: dict[str, HeadClasses] = {}
    for head, layer in net.outputs.items():
        known = [own.heads[head]] if head in own.heads else []
        known += [HeadClasses(own.classes, own.palette)] if not heads else []
        # Of one head the name does not matter: the release has none, the prepared data has one.
        published = maps.get(head) or (next(iter(maps.values())) if len(maps) == 1 else None)
        known += [HeadClasses(published.classes, published.palette)] if published else []
        count = net.channels[layer]
        fitting = (one for one in known if len(one.classes) == count)
        named = next(fitting, HeadClasses(default_names(count)))
        given = tuple(class_names) if not heads else ()
        heads[head] = replace(named, classes=given) if given else named
    return heads


def read_class_names(path: Path) -> tuple[str, ...]:
    """One class name per line; quotes and leading WordNet ids (``n02123045``) are taken off.

    Raises:
        UsageError: no such file, no text, or no names in it.
    """
    form = "one class name a line, as UTF-8 text"
    if not path.is_file() or path.stat().st_size > MAX_NAMES_FILE:
        raise UsageError("U002", f"{path}: expected a text file with one class name per line", form)
    try:
        lines = decoded(path.read_bytes()).splitlines()
    except ValueError as error:
        raise UsageError("U002", f"{path}: class names are {error}", form) from error
    names = [re.sub(r"^n\d{8}\s+", "", line.strip().strip("'\"")) for line in lines]
    if not any(names):
        raise UsageError("U002", f"{path}: no class names in it", form)
    return tuple(filter(None, names))


def start_from(
    weights: Path | str,
    module: Network,
    classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    *,
    inflation: Inflation = "mean",
) -> tuple[Foreign, Transplant]:
    """Put what fits of a weight file into a net that is to be trained.

    A net with a trunk for each input takes a file for each: ``color=RUN1,hha=RUN2``.
    Where a file names its classes, those of ``classes`` (by head) that it has keep their scores,
    whatever their order; others keep their own initial values. ``inflation`` says what a first
    layer gets for bands that the file's has not. The plan says so.

    Raises:
        UsageError: files for other inputs than the net's.
        ModelError: what ``read_weights`` raises; M040 nothing of the file fits the trunk.
    """
    files, net = files_by_stream(str(weights)), module.net
    if "" not in files:
        refuse_other_streams(files, net)
    each = {stream: read_weights(path) for stream, path in files.items()}
    foreign = each[""] if "" in each else together(each, net)
    others = {head: names for f in each.values() for head, names in _others(f.header, classes)}
    places, notes = dict[str, tuple[int, ...]](), list[str]()
    for head, theirs in others.items():
        # Streams are of other nets each: of them nothing is kept where one has other classes.
        known = {name: i for i, name in enumerate(theirs)} if "" in each else {}
        row = tuple(known.get(name, -1) for name in classes[head])
        places |= dict.fromkeys(_layers_of(head, classes, net), row)
        notes += _classes_told(theirs, classes[head]) if max(row) >= 0 else []
    transplant = surgery.plan(
        foreign.tensors,
        module,
        names=foreign.names,
        classes=places,
        has_factors=foreign.has_factors,
        inflation=inflation,
    )
    _refuse_misfits(transplant, foreign, net, weights)
    surgery.carry_out(transplant, foreign.tensors, module)
    return foreign, replace(transplant, notes=(*foreign.notes, *notes, *transplant.notes))


def _others(
    header: Header | None, classes: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Heads that both have, with the file's classes where these are others, or in another order.

    Single heads are one head.
    """
    theirs = {head: own.classes for head, own in header.heads.items()} if header else {}
    theirs = theirs or ({"": header.classes} if header else {})
    if len(theirs) == len(classes) == 1:
        theirs = dict(zip(classes, theirs.values(), strict=True))
    for head in theirs.keys() & classes.keys():
        # Mere numbers, as a net without names has them, are no other names.
        both = (theirs[head], tuple(classes[head]))
        if len({names for names in both if names != default_names(len(names))}) > 1:
            yield head, theirs[head]


def _layers_of(head: str, heads: Iterable[str], net: Net) -> list[str]:
    """The layers of a head that hold something for each class; of one head all that do."""
    names = sorted(heads, key=len, reverse=True)  # a name may end as another
    layers = surgery.per_class(net)
    if len(names) == 1:
        return [*layers]
    return [n for n in layers if next((h for h in names if n.endswith(f"_{h}")), "") == head]


def _classes_told(theirs: Sequence[str], ours: Sequence[str]) -> Iterator[str]:
    """What becomes of classes that are matched by name, in a sentence."""
    told = f"classes by name: {first_few([n for n in ours if n in theirs], 8)} keep their scores"
    new, gone = ([n for n in a if n not in b] for a, b in ((ours, theirs), (theirs, ours)))
    told += f"; new: {first_few(new, 8)}" if new else ""
    yield told + (f"; no longer there: {first_few(gone, 8)}" if gone else "")


def _refuse_misfits(transplant: Transplant, foreign: Foreign, net: Net, path: Path | str) -> None:
    origin = foreign.name or foreign.kind
    if not transplant.of(*surgery.TAKEN):
        message = f"{path}: no tensor of this file ({origin}) fits the net"
        hint = f"pixelwise weights show {path}; pixelwise nets"
        if streams := late_streams(net):
            hint = f"--weights {','.join(f'{name}=FILE' for name in streams)}"
        raise ModelError("M040", message, hint)
    wrong = [
        f"`{row.target}` is {list(row.source_shape)}, expected {list(row.target_shape)}"
        for row in transplant.of("mismatched")
        if not surgery.other_classes(row, net)
    ]
    if wrong:
        message = f"{path}: {origin} does not fit the net: {first_few(wrong, separator='; ')}"
        shown = next(iter(files_by_stream(str(path)).values()))
        raise ModelError("M040", message, f"pixelwise weights show {shown}")


def preprocess_of(
    foreign: Foreign, net: str, *, stated: str = "", channels: int = 3
) -> dict[str, Any]:
    """What the weights were trained with; empty where nobody says it.

    What a person states decides, then the file's header or origin, then the catalogue.

    Raises:
        UsageError: U001 no preprocessing is called ``stated``.
    """
    plain = Preprocess("rgb", 1.0, (0.0,) * channels, (1.0,) * channels)
    choices = {**PUBLISHED, "plain": plain}
    if stated and stated not in choices:
        raise unknown_name("preprocessing", stated, tuple(choices))
    entry = catalog.entry(net) if net else None
    published = PUBLISHED.get(entry.preprocess) if entry else None
    of_caffe = foreign.kind == "caffe" or _is_caffes_classifier(foreign.header)
    # Of Caffe files in released nets the release says it: NYUDv2 has means of its own.
    released = published if entry and entry.options and of_caffe else None
    if not stated and not released and foreign.header is not None:
        return dict(foreign.header.preprocess)
    known = choices.get(stated) or released or foreign.preprocess or published
    return as_dict(known) if known else {}


def _is_caffes_classifier(header: Header | None) -> bool:
    """Whether a checkpoint is a trunk that was trained with Caffe, and imported."""
    if header is None or header.net not in catalog.NETS:
        return False
    classifier = catalog.entry(header.net).task == "classification"
    return classifier and read(Preprocess, dict(header.preprocess)) == CAFFE
