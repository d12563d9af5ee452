"""Which file a path stands for, and what it is by its first bytes: a suffix is only a wish."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal

from pixelwise.errors import ModelError
from pixelwise.folders import is_finished, stages, weights

Kind = Literal["caffe", "safetensors", "torch-zip", "torch-legacy"]

# torch.save's three leading records before version 1.6: magic number, then protocol 1001.
TORCH_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")

_NOT_READ: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, or Caffe's .caffemodel.h5)"),
    (b"\x93NUMPY", "a single NumPy array"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"GGUF", "a GGUF file"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (b"<", "an HTML or XML page, probably a failed download"),
    (b"version https://git-lfs", "a Git LFS pointer; the weights were not fetched"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x08", "an ONNX file"),  # ModelProto begins with its ir_version
)
_BY_SUFFIX = {
    ".onnx": "an ONNX file",
    ".net": "a Deep Compression file (codebooks without layer names)",
    ".prototxt": "a net's description without weights (see the .caffemodel beside it)",
}
# NetParameter begins with its name (0A), a V1 layer (12), an input (1A, 22) or a layer (A2 06).
_CAFFE = (b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x38", b"\x42", b"\xa2\x06")
_HINTS = {
    "M010": "ask its author for safetensors, which cannot hold code",
    "M011": "readable: .caffemodel, .safetensors, and torch state dicts (.pt, .pth)",
}


def refuse(path: Path, code: str, what: str) -> ModelError:
    """The error for a file that is recognised and not read."""
    verb = "is refused" if code == "M010" else "is not read"
    return ModelError(code, f"{path}: {what} {verb}", _HINTS[code])


def damaged(path: Path, kind: str, what: str) -> ModelError:
    """The error for a file that is not what its beginning promises."""
    return ModelError("M002", f"{path}: damaged {kind} file: {what}", "fetch the file again")


def weight_file(path: Path) -> Path:
    """A run folder's best (else last) weights; any other path as it is.

    Of a run in stages those of the last one that is finished.

    Raises:
        ModelError: M001 a folder without weights.
    """
    if not path.is_dir():
        return path
    if begun := stages(path):
        finished = [stage for stage in begun if is_finished(stage)]
        if not finished:
            what = f"no stage of {path} is finished ({begun[-1].name} is under way)"
            raise ModelError("M001", what, f"give {begun[-1]}, or train on with --resume")
        path = finished[-1]
    for name in ("best", "last"):
        if (candidate := weights(path, name)).is_file():
            return candidate
    raise ModelError(
        "M001",
        f"{path} is not a run folder: it has no weights/best.safetensors or weights/last",
        "train one with `pixelwise train DATA -o RUN`",
    )


def sniff(path: Path) -> Kind:
    """The kind of the file at ``path``.

    Raises:
        ModelError: M001 not there, M002 empty or unknown, M010 code-capable, M011 known but
            not read; the last two name the format.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError("M001", f"{path} {what}", "give a run folder or a weight file")
    with path.open("rb") as f:
        head = f.read(512)
    if not head:
        raise ModelError("M002", f"{path}: empty file", "fetch it again")
    # First, because its leading length may look like any other format's magic number.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        if path.suffix == ".pt2":
            raise refuse(path, "M010", "a program of torch.export, whose reader can run code,")
        return "torch-zip"
    if head.startswith(TORCH_LEGACY):
        return "torch-legacy"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise refuse(path, "M010", "a stream of Python objects, which can run code when opened,")
    # A text may begin with a line break (0A), as a net's name does.
    if head.startswith(_CAFFE) and path.suffix != ".onnx" and not _is_text(head):
        return "caffe"
    raise _not_read(path, head)


def _not_read(path: Path, head: bytes) -> ModelError:
    for magic, what in _NOT_READ:
        if head.startswith(magic):
            return refuse(path, "M011", what)
    if head[257:262] == b"ustar":
        return refuse(path, "M011", "a tar archive")
    if path.suffix in _BY_SUFFIX:
        return refuse(path, "M011", _BY_SUFFIX[path.suffix])
    if _is_text(head):
        return refuse(path, "M011", "a text file")
    message = f"{path}: no known weight format (begins with {head[:8].hex(' ')})"
    return ModelError("M002", message, _HINTS["M011"])


def _is_text(head: bytes) -> bool:
    """Letters and spaces alone: lengths and numbers of a binary file are neither."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # may end within a letter
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\n\r" for c in text)
