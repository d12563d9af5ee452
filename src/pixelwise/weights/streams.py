"""Weights for a net with a trunk for each input: which file is for which, and all of them as one.

The rule of the FCN release (surgery.py ``transplant`` with a suffix): every layer of a single
stream's net goes to the layer of its name with the input's name behind, scores included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pixelwise.data.preprocess import Preprocess, joined
from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.fusion import late_streams
from pixelwise.nets.net import Net
from pixelwise.settings import as_dict, read
from pixelwise.weights.checkpoint import Header
from pixelwise.weights.load import Foreign

_NAMED = re.compile(r"([A-Za-z][\w-]*)=(.+)", re.DOTALL)


def files_by_stream(weights: str) -> dict[str, str]:
    """``color=RUN1,hha=RUN2`` as file by input; any other text is one file, of no name.

    Raises:
        UsageError: U002 an input is named twice.
    """
    parts = re.split(r",(?=[A-Za-z][\w-]*=)", weights)
    named = [(match[1], match[2]) for match in map(_NAMED.fullmatch, parts) if match]
    if len(named) < len(parts) or Path(weights).exists():
        return {"": weights}
    files: dict[str, str] = dict(named)
    if len(files) < len(named):
        raise UsageError("U002", f"weights names an input twice: {weights}", "one file for each")
    return files


def refuse_other_streams(streams: Iterable[str], net: Net) -> None:
    """Each input of a net in streams needs its file, and no other name is one (UsageError)."""
    named, wanted = list(streams), late_streams(net)
    given = ",".join(f"{name}=FILE" for name in wanted)
    if not wanted:
        message = f"weights names files for {', '.join(named)}, and the net has one trunk"
        raise UsageError("U002", message, "--weights FILE")
    for name in named:
        if name not in wanted:
            raise unknown_name("stream of the net", name, wanted, f"--weights {given}")
    if missing := [name for name in wanted if name not in named]:
        message = f"weights names no file for the input {missing[0]}"
        raise UsageError("U002", message, f"--weights {given}")


def together(files: Mapping[str, Foreign], net: Net) -> Foreign:
    """The weights of all streams as those of one file, whose tensors are called stream:name.

    Its header has the pictures that any of them was trained on, and what each was shown, joined,
    where all say it.
    """
    tensors = {f"{s}:{name}": t for s, f in files.items() for name, t in f.tensors.items()}
    names = {
        f"{s}:{name}": _placed(f.names.get(name, name), s, net)
        for s, f in files.items()
        for name in f.tensors
    }
    shown = [_shown(f) for f in files.values()]
    known = [part for part in shown if part is not None]
    contents = [f.header.trained_on or () for f in files.values() if f.header]
    header = Header(
        "",
        preprocess=as_dict(joined(known)) if len(known) == len(shown) else {},
        data={"trained_on": sorted(set().union(*contents))},
    )
    origin = ", ".join(f"{s}: {f.name or f.kind}" for s, f in files.items())
    notes = tuple(f"{s}: {note}" for s, f in files.items() for note in f.notes)
    return Foreign("pixelwise", tensors, origin, notes, header=header, names=names)


def _placed(name: str, stream: str, net: Net) -> str:
    """``conv1_1.weight`` as ``conv1_1color.weight``; a head's name stays the last."""
    layer, _, parameter = name.rpartition(".")
    for head in net.heads:
        if layer.endswith(f"_{head}"):
            return f"{layer.removesuffix(f'_{head}')}{stream}_{head}.{parameter}"
    return f"{layer}{stream}.{parameter}"


def _shown(file: Foreign) -> Preprocess | None:
    if file.header is None:
        return file.preprocess
    return read(Preprocess, dict(file.header.preprocess)) if file.header.preprocess else None
