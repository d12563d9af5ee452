"""The nets that grew from FCN, trained for the same minutes on CamVid and judged on a kept part.

    python benchmarks/relatives.py OUT [--data CamVid] [--minutes 20] [--zoom 1.5] [--seeds 0,1]

Each net of the queue is trained on `fit` by the recipe camvid-efficientnetlite0, for as many
steps as fit into the minutes by a timing of 30 steps beforehand, once for each seed; judged on
`held`, with and without the CRF; and timed on one frame, in a process of its own. What lies in OUT
is not done again, so that a run that was cut off goes on. OUT/relatives.json has all figures; the
table of docs/relatives.md is printed. Speed is that of the machine alone: nothing else may run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pixelwise.experiments import recipes

RECIPE = Path(recipes.__file__).parent / "recipes" / "camvid-efficientnetlite0.yaml"
PRETRAINED = tuple(f"{kind}-efficientnetlite0" for kind in ("fcn4s", "unet", "deeplabv3", "pspnet"))
"""On a trunk whose weights are in the extra `pretrained` ..."""
SCRATCH = tuple(f"{kind}-tiny" for kind in ("fcn4s", "segnet", "unet", "deeplabv3", "pspnet"))
"""... and on one that learns from random weights, which SegNet can be built on."""
TIMED, FIRST = 30, 10
"""Steps of the timing, of which the first are left out: kernels are compiled in them."""
FRAME = (360, 480)
"""A frame; it is shown at `--zoom` times this size."""
WAYS = {"plain": [], "crf": ["--crf"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default=f"{os.environ.get('PIXELWISE_TEST_DATA', '.')}/camvid")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--zoom", type=float, default=1.5, help="size of frames; of crops too")
    parser.add_argument("--iterations", type=int, default=0, help="in place of the minutes")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--nets", default=",".join((*PRETRAINED, *SCRATCH)))
    parser.add_argument("--time", type=Path, help=argparse.SUPPRESS)  # a process of its own
    options = parser.parse_args()
    if options.time:
        json.dump(labelled(options.time), sys.stdout)
        return
    rows = []
    for seed in map(int, options.seeds.split(",")):  # of every net one, before any has two
        for net in options.nets.split(","):
            steps = options.iterations or steps_in(options, net)
            run = trained(options, net, seed, steps)
            rows.append({**facts(net, options.zoom), **speed(run), "seed": seed, "steps": steps})
            rows[-1] |= {way: judged(options, run, way) for way in WAYS}
            kept(
                options.out / "relatives.json",
                {"minutes": options.minutes, "zoom": options.zoom, "rows": rows},
            )
    sys.stdout.write(table(rows))


def pixelwise(*arguments: str | Path) -> str:
    """A command of its own; what it says goes to stderr, and a failure ends the benchmark."""
    command = [sys.executable, "-m", "pixelwise", *map(str, arguments)]
    print(f"{time.strftime('%H:%M:%S')} {' '.join(command[2:])}", file=sys.stderr)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def kept(path: Path, value: Any) -> Any:
    """Write JSON whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1))
    part.replace(path)
    return value


# -- one run --------------------------------------------------------------------------------------
def steps_in(options: argparse.Namespace, net: str) -> int:
    """How many steps fit into the minutes, by a timing that is kept."""
    path = options.out / "timing" / f"{net}.json"
    if path.exists():
        seconds = json.loads(path.read_text())
    else:
        run = trained(options, net, 0, TIMED, folder=options.out / "timing" / net)
        events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        at = {e["step"]: e["seconds"] for e in events if e["event"] == "step"}
        seconds = kept(path, (at[TIMED] - at[FIRST]) / (TIMED - FIRST))
    return max(1, round(60 * options.minutes / seconds))


def trained(
    options: argparse.Namespace, net: str, seed: int, steps: int, folder: Path | None = None
) -> Path:
    """The folder of a finished run."""
    run = folder or options.out / f"{net}-{seed}"
    if (run / "state").exists():
        if not (run / "done").exists():
            pixelwise("train", run / "recipe.yaml", "-o", run, "--resume")
    else:
        run.parent.mkdir(parents=True, exist_ok=True)
        settings = {"data": options.data, "train_split": "fit", "val_split": "", "mirror": "false"}
        crop = round(320 * options.zoom)
        settings |= {"zoom": options.zoom, "zooms": options.zoom, "crop": f"{crop}x{crop}"}
        settings |= {"seed": seed, "validate_every": 0}
        settings |= {} if net in PRETRAINED else {"weights": ""}
        given = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
        pixelwise("train", RECIPE, "-o", run, "--net", net, "--iterations", str(steps), *given)
    (run / "done").touch()
    return run


def judged(options: argparse.Namespace, run: Path, way: str) -> dict[str, float]:
    """Mean IU and boundary IU on `held`, in percent."""
    path = run / f"held-{way}.json"
    if not path.exists():
        text = pixelwise(
            *("evaluate", run, options.data, "--split", "held", "--precision", "bf16", "--json"),
            *WAYS[way],
        )
        kept(path, json.loads(text))
    scores = json.loads(path.read_text())
    return {name: 100 * scores[name] for name in ("mean_iu", "boundary_iu")}


def speed(run: Path) -> dict[str, float]:
    """Seconds and memory of a frame, in a process of its own."""
    path = run / "speed.json"
    if not path.exists():
        command = [sys.executable, __file__, "-", "--time", str(run)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        kept(path, json.loads(done.stdout))
    measured: dict[str, float] = json.loads(path.read_text())
    return measured


def labelled(run: Path) -> dict[str, float]:
    """Seconds of a frame on one thread, the least of five, and what the process then held."""
    import numpy as np
    import torch

    import pixelwise as pw
    from pixelwise.workflows.bench.timing import own_memory

    torch.set_num_threads(1)
    model, before = pw.load(run), own_memory("VmRSS")
    frame = np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)
    spent = []
    for _ in range(6):  # of the first kernels are compiled
        start = time.process_time()
        model.predict(frame)
        spent.append(time.process_time() - start)
    return {"seconds": min(spent[1:]), "bytes": own_memory() - before}


def facts(net: str, zoom: float) -> dict[str, Any]:
    """What follows from the spec."""
    from pixelwise.nets.catalog import spec

    made = spec(net, classes=11)
    return {
        "net": net,
        "parameters": made.parameters(),
        "macs": sum(made.macs(*(round(zoom * n) for n in FRAME)).values()),
        "stride": float(made.stride),
    }


# -- the table ------------------------------------------------------------------------------------
def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each net, its seeds side by side."""
    head = "net", "parameters", "G mult-adds", "steps", "s a frame", "MB"
    head += ("mean IU", "boundary IU", "with CRF", "boundary IU with CRF")
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for net in dict.fromkeys(row["net"] for row in rows):
        own = [row for row in rows if row["net"] == net]
        cells = [f"`{net}`", f"{own[0]['parameters']:,}", f"{own[0]['macs'] / 1e9:.1f}"]
        cells += [str(own[0]["steps"]), f"{own[0]['seconds']:.2f}", f"{own[0]['bytes'] / 1e6:.0f}"]
        for way in WAYS:
            for score in ("mean_iu", "boundary_iu"):
                cells.append(", ".join(f"{row[way][score]:.1f}" for row in own))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
