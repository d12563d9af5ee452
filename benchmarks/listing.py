"""Folders of many pictures: seconds and memory until what is to be done is known.

Each figure is of a process of its own, on hard links to one picture: `predict` finds the pictures
and names their outputs, `inspect` pairs them with label maps of the same names, `tars` does so for
as many in tars with their indices. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KINDS = ("predict", "inspect", "tars")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--counts", default="10000,100000,1000000")
    options.add_argument("--kinds", default=",".join(KINDS))
    options.add_argument("--folder", type=Path, help="where the links are made; /dev/shm is fast")
    options.add_argument("--one", nargs=2, metavar=("KIND", "FOLDER"), help="in this process")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measured(given.one[0], Path(given.one[1]))))
        return
    rows = []
    for count in map(int, given.counts.split(",")):
        for kind in given.kinds.split(","):
            place = Path(tempfile.mkdtemp(dir=given.folder))
            try:
                made(place, kind, count)
                command = [sys.executable, __file__, "--one", kind, str(place)]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            finally:
                shutil.rmtree(place)
            rows.append({"kind": kind, "pictures": count, **json.loads(told)})
            if not given.json:
                print(
                    "{kind:8} {pictures:>9,} {seconds:8.2f} s {megabytes:8.1f} MB".format(
                        **rows[-1]
                    )
                )
    if given.json:
        print(json.dumps(rows, indent=1))


def made(place: Path, kind: str, count: int) -> None:
    """``count`` pictures in one folder, but for ``predict`` with label maps in another."""
    from PIL import Image

    from pixelwise.data.formats.shards import write_shards

    files = {}
    for folder, mode, suffix in (("images", "RGB", ".jpg"), ("labels", "L", ".png")):
        files[folder] = place / f"one{suffix}"
        Image.new(mode, (8, 8)).save(files[folder])
    (place / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    if kind == "tars":
        pieces = [(folder, path.suffix, path.read_bytes()) for folder, path in files.items()]
        write_shards(place, ((f"IMG_{i:08}", pieces) for i in range(count)), 64 << 20)
        for path in place.glob("0*"):
            path.rename(path.with_name(f"train-{path.name}"))
    for folder, path in files.items() if kind != "tars" else ():
        (place / folder).mkdir()
        for i in range(count if kind == "inspect" or folder == "images" else 0):
            os.link(path, place / folder / f"IMG_{i:08}{path.suffix}")
    for path in files.values():
        path.unlink()


def measured(kind: str, place: Path) -> dict[str, float]:
    """Processor time, and how much more memory the process held at most."""
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.predict.sources import find

    before, began = held("VmRSS"), time.process_time()
    if kind == "predict":
        find([str(place / "images")], place / "out")
    else:
        open_dataset(place, strict=False)
    seconds = time.process_time() - began
    return {"seconds": round(seconds, 2), "megabytes": round(held("VmHWM") - before, 1)}


def held(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
