"""Files that ``pixelwise export`` wrote, opened again: a header, and what carries the net out.

Such a file comes from anywhere. It is read for its header and carried out by its runtime; an ONNX
file that names other files, or operators that are no standard ones, is refused before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.engine.backends import Carry, ForeignRunner, onnx_runtime, openvino, package
from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.weights.checkpoint import Header, header_in, net_of

SUFFIXES = (".onnx", ".xml")
"""ONNX Runtime's and OpenVINO's; what is in the file is checked as it is opened."""
AGAIN = "pixelwise export RUN -o OUT{}"


def opened(path: Path, *, bf16: bool = False) -> tuple[Header, ForeignRunner]:
    """The header of an exported file, and its runner.

    Raises:
        ModelError: M001 not there, M002 damaged, M010 it reaches for other files or foreign code,
            M040 of another program, or of labels alone.
        ResourceError: R008 its runtime is not installed.
        UsageError: U002 bf16 by ONNX Runtime, which computes as the file says.
    """
    if not path.is_file():
        raise ModelError("M001", f"{path} does not exist", "give a run folder or a model file")
    if path.suffix == ".onnx" and bf16:
        what = f"--precision bf16 with {path}: ONNX Runtime computes it in fp32"
        raise UsageError("U002", what, "leave it out, or give the run or an OpenVINO file")
    try:
        notes, carry = _onnx(path) if path.suffix == ".onnx" else _openvino(path, bf16=bf16)
    except (PixelwiseError, OSError):
        raise
    except Exception as error:  # protobuf's and the runtimes' errors have no common base
        what = f"{path}: no {path.suffix[1:]} model that can be read ({_first_line(error)})"
        raise ModelError("M002", what, AGAIN.format(path.suffix)) from error
    if "pixelwise" not in notes:
        what = f"{path} names neither net nor classes, expected a file that pixelwise exported"
        raise ModelError("M040", what, AGAIN.format(path.suffix))
    header = header_in(notes["pixelwise"], path)
    if notes.get("gives") != "scores":
        what = f"{path} gives labels alone, and pictures are predicted from scores"
        raise ModelError("M040", what, "export it without --labels")
    return header, ForeignRunner(net_of(header, path), carry, "bf16" if bf16 else "fp32")


def _onnx(path: Path) -> tuple[Mapping[str, str], Carry]:
    data = path.read_bytes()
    model = package("onnx", "export").load_model_from_string(data)
    _refuse_reaching(path, model)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    return notes, onnx_runtime(data)


def _refuse_reaching(path: Path, model: Any) -> None:
    """What our files have not: numbers elsewhere, and anything that is no plain operator."""
    graph = model.graph
    plain = {"FLOAT", "INT", "STRING", "INTS"}
    outside = [t.name for t in graph.initializer if t.external_data or t.data_location]
    foreign = [f.name for f in model.functions] + [s.values.name for s in graph.sparse_initializer]
    for node in graph.node:
        kinds = {a.AttributeType.Name(a.type) for a in node.attribute}
        if node.domain not in ("", "ai.onnx") or kinds - plain:
            foreign.append(node.op_type)
    for what, names in (("weights in another file", outside), ("more than operators", foreign)):
        if names:
            problem = f"{path} has {what} (`{names[0]}`), which no file of ours has"
            raise ModelError("M010", problem, AGAIN.format(".onnx"))


def _openvino(path: Path, *, bf16: bool) -> tuple[Mapping[str, str], Carry]:
    model = package("openvino", "openvino").Core().read_model(path)
    notes = {}
    for key in ("pixelwise", "gives"):
        if model.has_rt_info(["pixelwise", key]):
            notes[key] = model.get_rt_info(["pixelwise", key]).astype(str)
    return notes, openvino(path, bf16=bf16)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
