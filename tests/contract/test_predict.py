"""``predict`` killed at any moment: nothing torn, nothing missing, the same bytes in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_model import photo, save_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SERVER = '''
"""Forks predictors that share one loaded model, kills them, and compares all files each time."""
import json, os, random, signal, sys, time
from pathlib import Path
from pixelwise.predict import model as models
from pixelwise.predict.jobs import carry_out, plan

model_file, photos, reference, out, shards, save = sys.argv[1:]
model, parts = models.load(model_file), int(shards)

def start(folder, part, parts):
    pid = os.fork()
    if pid:
        return pid
    try:
        carry_out(plan([photos], Path(folder), save=save, shard=f"{part}/{parts}"), model)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(9)

def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*")
            if p.is_file() and not p.name.endswith(".tmp")}

began = time.monotonic()
assert os.waitpid(start(reference, 1, 1), 0)[1] == 0
span = (time.monotonic() - began) / parts  # however fast the machine: killed before it can end
whole, chance, kills, wrong = contents(reference), random.Random(0), 0, []
for attempt in range(400):
    children = [start(out, i + 1, parts) for i in range(parts)]
    time.sleep(span * (1 + attempt) * chance.uniform(0.05, 0.2))  # longer and longer
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    states = [os.waitpid(pid, 0)[1] for pid in children]
    assert all(s == 0 or os.WIFSIGNALED(s) for s in states), states
    kills += sum(map(os.WIFSIGNALED, states))
    wrong += [name for name, raw in contents(out).items() if whole.get(name) != raw]
    if not any(states):
        break
left = [str(p) for p in Path(out).rglob("*.tmp")]
print(json.dumps({"kills": kills, "wrong": wrong, "left": left, "same": contents(out) == whole,
                  "files": len(whole), "attempts": attempt + 1}))
'''


EACH = "labels,overlay,scores,heatmaps,polygons"


@pytest.mark.parametrize(
    ("shards", "save", "files"),
    [
        # labels, overlay, scores, 3 heat maps, polygons, record; manifest
        (2, EACH, 20 * 8 + 1),
        # 2 of each export; of all together areas, sheet, coco, labels.txt, labelmap.txt, list
        (1, f"{EACH},labelme,cvat,areas,sheet,coco", 20 * 12 + 1 + 6),
    ],
)
def test_killed_again_and_again_the_outputs_are_those_of_one_run(
    tmp_path: Path, shards: int, save: str, files: int
) -> None:
    model = save_model(tmp_path / "net.safetensors")
    for i in range(20):
        photo(tmp_path / "in" / f"sub{i % 3}" / f"{i}.png", seed=i)
    folders = [tmp_path / name for name in ("in", "reference", "out")]
    told = subprocess.run(
        [sys.executable, "-c", SERVER, model, *folders, str(shards), save],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["files"] == files
    assert found["kills"] >= 2
    assert (found["wrong"], found["left"], found["same"]) == ([], [], True)
