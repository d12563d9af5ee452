"""The process in which .mat and HDF5 files are read, for ``matfile.MatReader`` and no one else.

It is started by its path and imports nothing of ours. A question is a line of JSON on stdin: a
path, and the keys of what is wanted. The answer is a line of JSON with dtypes and shapes, and their
bytes behind it; or a line with what is wrong. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Keys = Sequence[Sequence[tuple[str, int | None]]]
"""Names and indices, as ``split`` gives them for each key."""
HDF5 = b"\x89HDF\r\n\x1a\n"
USERBLOCKS = (0, 512, 1024, 2048)  # where HDF5's signature may stand; MATLAB's stands at 512
MATLAB_73 = b"MATLAB 7.3"
ENDIAN = slice(126, 128)  # MAT-File Format, level 5: MI or IM after the header text and version
READY = b"ready\n"  # the first line of the answers: numpy has loaded
PLAIN = "biufcU"  # kinds of numpy that are bytes and no objects
EMPTY = {b"char": "U1", b"cell": "U1", b"logical": "?", b"single": "f4", b"double": "f8"}
"""By MATLAB's class: what an array without elements is an array of; its numbers do not say."""
PART = re.compile(r"([^.\[\]/]+)(?:\[(\d+)\])?")
SHARE = 4  # of the memory that one array may take: it is held up to three times while it is sent


class Refusal(Exception):
    """What was asked is not there, or not of a kind that is read; the file is sound."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def main() -> None:
    """Answer until stdin ends; arguments: bytes of memory, seconds of processor time a file."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not fall among the answers
    limit_memory(memory)
    answers.write(READY)
    answers.flush()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        limit_time(seconds)
        answer(answers, Path(question["path"]), question["keys"], memory // SHARE)
        answers.flush()


def limit_memory(size: int) -> None:
    """Address space, where the system limits it (macOS and Windows do not); no core files."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        bound = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def limit_time(seconds: int) -> None:
    """So many more seconds of processor time, then SIGXCPU ends the process."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, hard))


def answer(out: BinaryIO, path: Path, keys: Sequence[str], limit: int) -> None:
    """Write what a file holds under the keys; without keys its variables and their shapes."""
    try:
        arrays = read(path, keys, limit) if keys else []
        head: dict[str, Any] = {"arrays": [(a.dtype.str, a.shape) for a in arrays]}
        if not keys:
            head = {"variables": variables(path)}
    except Refusal as refusal:
        arrays, head = [], {"refused": str(refusal), "hint": refusal.hint}
    except ImportError as error:
        arrays, head = [], {"lacking": str(error)}
    except MemoryError:
        arrays, head = [], {"damaged": "it asks for more memory than the reader may take"}
    except Exception as error:  # noqa: BLE001 - the libraries raise anything on damaged files
        first, *_ = str(error).splitlines() or [""]
        arrays, head = [], {"damaged": f"it cannot be read ({type(error).__name__}: {first[:200]})"}
    out.write(json.dumps(head).encode("ascii") + b"\n")
    for array in arrays:
        out.write(array.tobytes())


def read(path: Path, keys: Sequence[str], limit: int) -> list[Array]:
    """The arrays under the keys, in native byte order; only their frames where an index is given.

    Raises:
        Refusal: no MATLAB or HDF5 file, a key that is not there, or what is no plain array.
    """
    kind = kind_of(path)
    parts = [split(key) for key in keys]
    values = from_hdf5(path, parts, limit, kind) if "hdf5" in kind else from_mat(path, parts, limit)
    for key, value in zip(keys, values, strict=True):
        if value.dtype.kind not in PLAIN:
            what = value.dtype.names or value.dtype
            raise Refusal(f"`{key}` is no array of numbers or text ({what})", "name a field of it")
    return [v.astype(v.dtype.newbyteorder("="), copy=False) for v in values]


def kind_of(path: Path) -> str:
    """``mat``, ``hdf5``, or ``matlab hdf5``, whose axes stand in reverse."""
    with path.open("rb") as f:
        head = f.read(USERBLOCKS[-1] + len(HDF5))
    if any(head[at : at + len(HDF5)] == HDF5 for at in USERBLOCKS):
        return "matlab hdf5" if head.startswith(MATLAB_73) else "hdf5"
    if head[ENDIAN] in (b"IM", b"MI"):
        return "mat"
    what = f"it begins with {head[:16]!r}" if head else "it is empty"
    hint = "fetch it again, a saved web page looks like that"
    raise Refusal(f"neither a MATLAB file of version 5 or 7.3 nor HDF5 ({what})", hint)


def split(key: str) -> list[tuple[str, int | None]]:
    """``GTcls.Segmentation`` and ``images[3]`` as names and indices."""
    parts = []
    for text in key.split("."):
        match = PART.fullmatch(text)
        if not match:
            raise Refusal(f"`{key}` is no key, expected such as `images[3]` or `GTcls.Names`")
        parts.append((match[1], int(match[2]) if match[2] else None))
    return parts


def missing(name: str, there: Iterable[str]) -> Refusal:
    """With what is there instead."""
    names = sorted(there)
    few = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return Refusal(f"holds no `{name}` (it holds: {few or 'nothing'})", "is it the right file?")


def checked(index: int, count: int, name: str) -> int:
    """The index, if there is such an element."""
    if index >= count:
        raise Refusal(f"`{name}[{index}]` is not there (it has {count:,}, counted from 0)")
    return index


# -- version 5, by scipy --------------------------------------------------------------------------
def from_mat(path: Path, keys: Keys, limit: int) -> list[Array]:
    """Values of a version 5 file; an index counts along the last axis, or in column order cells."""
    from scipy.io import loadmat, whosmat

    there = [name for name, *_ in whosmat(path)]
    for name, _ in (parts[0] for parts in keys):
        if name not in there:
            raise missing(name, there)
    content = loadmat(path, variable_names=[parts[0][0] for parts in keys])
    values = [inside(content, parts) for parts in keys]
    for (*_, (name, _)), value in zip(keys, values, strict=True):
        refuse_large(name, value.nbytes, limit)
    return values


def inside(content: Any, parts: Sequence[tuple[str, int | None]]) -> Array:
    """Follow names and indices into what scipy made: structs are arrays of named objects."""
    value = content
    for name, index in parts:
        names = (value.dtype.names or ()) if isinstance(value, np.ndarray) else value
        if name not in names:
            raise missing(name, names)
        field = value[name]
        single = isinstance(value, np.ndarray) and value.size == 1  # a struct, and no array of them
        value = field.flat[0] if single else field
        if index is not None:
            value = element(value, index, name)
    if not isinstance(value, np.ndarray):
        raise Refusal(f"`{parts[-1][0]}` is a {type(value).__name__}, expected an array")
    return texts([*value.ravel("F")]) if is_cell_of_text(value) else value


def element(value: Array, index: int, name: str) -> Array:
    """A cell, or the array at a place of the last axis."""
    if value.dtype.kind in "OV":
        place = checked(index, value.size, name)
        flat = value.ravel("F")
        cell: Array = flat[place] if value.dtype.kind == "O" else flat[place : place + 1]
        return cell
    return value[..., checked(index, value.shape[-1], name)]


def is_cell_of_text(value: Array) -> bool:
    """All its objects are text."""
    return value.dtype == object and all(
        isinstance(v, np.ndarray) and v.dtype.kind == "U" for v in value.flat
    )


def texts(values: Sequence[Array]) -> Array:
    """(n,) of text, from one row of characters each; a char array of no row is empty."""
    return np.array([str(v.flat[0]) if v.size else "" for v in values], np.str_)


def refuse_large(name: str, size: int, limit: int) -> None:
    """More bytes than may be sent at once."""
    if size > limit:
        hint = f"read a part of it, such as `{name}[0]`"
        raise Refusal(f"`{name}` has {size:,} bytes, expected at most {limit:,}", hint)


# -- version 7.3 and HDF5, by h5py ----------------------------------------------------------------
def from_hdf5(path: Path, keys: Keys, limit: int, kind: str) -> list[Array]:
    """Values of an HDF5 file; those of MATLAB get back the order of their axes.

    HDF5 is stored by rows and MATLAB by columns, so (480, 640, 3, 1449) stands as (1449, 3, 640,
    480). An index counts along the first axis as stored, which is MATLAB's last.
    """
    import h5py

    values = []
    with h5py.File(path, "r", locking=False) as f:
        for parts in keys:
            place = f
            for i, (name, index) in enumerate(parts):
                place = member(place, name)
                if i < len(parts) - 1 and index is not None:
                    place = f[references(place, name)[checked(index, place.size, name)]]
            values.append(stored(f, place, *parts[-1], limit, kind))
    return values


def member(group: Any, name: str) -> Any:
    """A group or data set of this very file: links could lead to any other one."""
    import h5py

    if not isinstance(group, h5py.Group) or name not in group:
        raise missing(name, [k for k in getattr(group, "keys", list)() if k != "#refs#"])
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Refusal(f"`{name}` is a link, expected the data itself")
    return group[name]


def stored(f: Any, place: Any, name: str, index: int | None, limit: int, kind: str) -> Array:
    """The numbers or the text of a data set, or of one of its elements."""
    import h5py

    if not isinstance(place, h5py.Dataset):
        raise Refusal(f"`{name}` is a group ({', '.join(place)})", "name a field of it")
    if place.is_virtual or place.external:
        raise Refusal(f"`{name}` lies in another file, expected the data itself")
    if h5py.check_ref_dtype(place.dtype):
        chosen = references(place, name)
        if index is not None:
            cell = f[chosen[checked(index, place.size, name)]]
            return stored(f, cell, name, None, limit, kind)
        return text_cells([stored(f, f[r], name, None, limit, kind) for r in chosen], name)
    matlab_class = place.attrs.get("MATLAB_class", b"")
    if place.attrs.get("MATLAB_empty"):
        return np.zeros(shape_of(place, kind), EMPTY.get(matlab_class, place.dtype))
    frames = place.shape[0] if place.shape else 0
    count = place.size if index is None else place.size // max(frames, 1)
    refuse_large(name, count * place.dtype.itemsize, limit)
    value = np.asarray(place[() if index is None else checked(index, frames, name)])
    if of_matlab(place, kind):
        value = value.T
    if matlab_class == b"char":
        return np.array(["".join(map(chr, row)) for row in np.atleast_2d(value)], np.str_)
    return value.astype(bool) if matlab_class == b"logical" else value


def references(place: Any, name: str) -> Array:
    """Those of a cell array, in column order."""
    import h5py

    if not isinstance(place, h5py.Dataset) or not h5py.check_ref_dtype(place.dtype):
        raise Refusal(f"`{name}` is no cell array, expected no index")
    flat: Array = place[()].ravel()
    return flat


def text_cells(values: Sequence[Array], name: str) -> Array:
    """A cell array whose cells are all text."""
    if any(v.dtype.kind != "U" for v in values):
        raise Refusal(f"`{name}` is a cell array", f"name a cell of it, such as `{name}[0]`")
    return texts(values)


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what stands at the top, as MATLAB has them."""
    kind = kind_of(path)
    if kind == "mat":
        from scipy.io import whosmat

        return {name: shape for name, shape, _ in whosmat(path)}
    import h5py

    with h5py.File(path, "r", locking=False) as f:
        names = [k for k in f if isinstance(f.get(k, getlink=True), h5py.HardLink)]
        places = {k: f[k] for k in names if k != "#refs#"}
        return {name: shape_of(place, kind) for name, place in places.items()}


def shape_of(place: Any, kind: str) -> tuple[int, ...]:
    """As MATLAB has it; of a group nothing."""
    if place.attrs.get("MATLAB_empty"):  # then its dimensions stand in place of the numbers
        return tuple(map(int, place[()]))
    shape = tuple(getattr(place, "shape", ()))
    return shape[::-1] if of_matlab(place, kind) else shape


def of_matlab(place: Any, kind: str) -> bool:
    """Whether its axes stand in reverse: by the file's header, or by its own mark."""
    return "matlab" in kind or "MATLAB_class" in place.attrs


if __name__ == "__main__":
    main()
