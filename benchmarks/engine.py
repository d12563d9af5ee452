"""Labels of one picture, by our plan and by others: seconds, ratios, agreement, memory.

    python benchmarks/engine.py [NET] [--size 500x500] [--threads 2] [--rounds 5] [--only WAYS]

Ways: ``plan`` (ours), ``plan on oneDNN`` (what runs where ours do not), ``modules`` (the net
by its torch modules), ``by hand`` (FCN-8s-VGG16 as pytorch-fcn has it: pad 100, ceil pools, dense
deconvolutions, NCHW; tests/pytorch_fcn.py has its geometry), ``opencv`` (the official net's files,
OpenCV 4), ``onnxruntime`` and ``openvino`` (from our ONNX; float32). What is missing is named. All
have the same random weights; scores are compared before any time is taken, and every way makes
labels. Rounds are interleaved. With one thread ``cpu`` seconds are printed too, which other work on
the machine changes less. Peak memory is of a process that makes a way and runs it once (Linux).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from forward import by_hand, tent
from harness import cpu_times, growth_in_process, interleaved, status, surroundings, tell
from torch import Tensor

from pixelwise.engine import convolutions
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.runner import Runner, TorchRunner

Way = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pictures (1, B, H, W) to labels (H, W), and scores (K, H, W) if asked for."""
WAYS = ("by hand", "plan", "plan on oneDNN", "modules", "opencv", "onnxruntime", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", nargs="?", default="fcn8s-vgg16")
    parser.add_argument("--size", default="500x500")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    generator = np.random.default_rng(0)
    picture = torch.from_numpy(generator.normal(0, 60, (1, 3, height, width)).astype(np.float32))
    if options.memory_of:
        make(options.memory_of, options.net, picture)(picture)
        print(status("VmHWM"))
        return
    before = cpu_times()
    rows, missing = measure(options.net, picture, options)
    if not options.no_memory:
        same = [options.net, "--size", options.size, "--threads", str(options.threads)]
        for row in rows:
            row["megabytes"] = round(growth_in_process(__file__, row["way"], same) / 1e6)
    facts = surroundings("engine", before, threads=options.threads)
    facts |= {"net": options.net, "size": options.size, "kernels": convolutions.in_use()}
    if options.json:
        json.dump({**facts, "rows": rows, "missing": missing}, sys.stdout, indent=1)
        return
    tell(facts)
    print(f"{options.net} at {options.size}; kernels: {facts['kernels']}")
    for name, why in missing.items():
        print(f"{name}: not measured ({why})")
    heads = f"{'way':24}{'ms':>8}{'quartiles':>16}{'cpu ms':>8}{'of plan':>9}"
    print(f"{heads}{'error':>9}{'differ':>8}{'MB':>7}")
    for r in rows:
        low, high = r["quartiles"]
        print(
            f"{r['way']:24}{r['ms']:8.0f}{f'{low:.0f}..{high:.0f}':>16}{r['cpu_ms']:8.0f}"
            f"{r['times_plan']:8.2f}x{r['error']:9.1e}{r['differ']:8}{r.get('megabytes', 0):7}"
        )


def measure(
    net: str, picture: Tensor, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    ways: dict[str, Way] = {}
    missing: dict[str, str] = {}
    for name in options.only.split(","):
        try:
            ways[name] = make(name, net, picture)
        except (ImportError, ValueError, RuntimeError) as error:
            missing[name] = str(error).splitlines()[0]
    truth_labels, truth = truth_of(net, picture)
    agreement = {}
    for name, way in ways.items():
        labels, scores = way(picture)
        error = float((scores - truth).abs().max() / truth.abs().max()) if scores.numel() else 0.0
        agreement[name] = (error, int((labels.long() != truth_labels).sum()))
        assert error < 1e-3, (name, error)  # a faster wrong answer is no row
    spent = interleaved(
        {name: lambda way=way: timed(way, picture) for name, way in ways.items()}, options.rounds
    )
    reference = np.median([wall for wall, _ in spent["plan"]]) if "plan" in spent else np.nan
    rows = []
    for name, times in spent.items():
        wall, cpu = (np.array(t) * 1e3 for t in zip(*times, strict=True))
        rows.append(
            {
                "way": name,
                "ms": round(float(np.median(wall)), 1),
                "quartiles": [round(float(q), 1) for q in np.quantile(wall, [0.25, 0.75])],
                "cpu_ms": round(float(np.median(cpu)), 1),
                "times_plan": round(float(np.median(wall) / 1e3 / reference), 3),
                "error": agreement[name][0],
                "differ": agreement[name][1],
            }
        )
    return rows, missing


def timed(way: Way, picture: Tensor) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    way(picture)
    return time.perf_counter() - began, time.process_time() - cpu


# -- the ways ------------------------------------------------------------------------------------
@torch.no_grad()
def filled(name: str) -> Network:
    """Random weights of He's scale; normalisations as they begin."""
    torch.manual_seed(0)
    network = build(name).eval()
    for key, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        elif key.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def truth_of(name: str, picture: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        scores = filled(name)(picture)[0]
    return scores.argmax(0), scores


def make(name: str, net: str, picture: Tensor) -> Way:
    network = filled(net)
    match name:
        case "plan":
            return by_runner(PlannedRunner(network))
        case "plan on oneDNN":
            return torchs_kernels(by_runner(PlannedRunner(network)))
        case "modules":
            return by_runner(TorchRunner(network))
        case "by hand":
            if net != "fcn8s-vgg16":
                raise ValueError("written for fcn8s-vgg16")
            return as_pytorch_fcn(network)
        case "opencv":
            return opencv(network, picture)
    return by_onnx(name, network)


def by_runner(runner: Runner) -> Way:
    def way(x: Tensor) -> tuple[Tensor, Tensor]:
        (scores,) = runner.maps(x).values()
        # The whole scores are for the comparison, which comes first.
        whole = torch.empty(0) if way.compared else scores.whole()[0]
        way.compared = True
        return scores.labels()[0], whole

    way.compared = False
    return way


def torchs_kernels(way: Way) -> Way:
    @contextmanager
    def without_ours() -> Iterator[None]:
        ours = convolutions.unavailable
        convolutions.unavailable = lambda: "asked for"
        try:
            yield
        finally:
            convolutions.unavailable = ours

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        with without_ours():  # weights are packed at the first picture
            return way(x)

    return run


def as_pytorch_fcn(network: Network) -> Way:
    weights = dict(network.state_dict())
    kernels = [tent(21, k) for k in (4, 4, 16)]

    def way(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            scores = by_hand(x, weights, kernels)[0]
            return scores.argmax(0), scores

    return way


def opencv(network: Network, picture: Tensor) -> Way:
    import cv2

    from pixelwise.weights.caffe_files import caffemodel, prototxt
    from pixelwise.weights.caffe_layers import caffe_layers, misfits

    for unfit in misfits(network.net):
        raise ValueError(unfit)
    layers = list(caffe_layers(network.net, network.state_dict(), *picture.shape[2:]))
    text = np.frombuffer(prototxt("net", layers).encode(), np.uint8)
    numbers = np.frombuffer(b"".join(map(bytes, caffemodel("net", layers))), np.uint8)
    there = cv2.dnn.readNetFromCaffe(text, numbers)
    cv2.setNumThreads(torch.get_num_threads())

    def way(x: Tensor) -> tuple[Tensor, Tensor]:
        there.setInput(x.numpy(), "data")
        scores = torch.from_numpy(np.asarray(there.forward())[0])
        return scores.argmax(0), scores

    return way


def by_onnx(name: str, network: Network) -> Way:
    from pixelwise.engine import backends
    from pixelwise.export import onnx_graph

    tensors = {key: t.numpy() for key, t in network.state_dict().items()}
    data = onnx_graph.model(network.net, tensors).SerializeToString()
    if name == "onnxruntime":
        carry = backends.onnx_runtime(data)
    else:
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(data), "CPU", settings)
        carry = lambda x: [compiled(x)[port] for port in compiled.outputs]  # noqa: E731

    def way(x: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.from_numpy(np.asarray(carry(x.numpy())[0])[0])
        return scores.argmax(0), scores

    return way


if __name__ == "__main__":
    main()
