"""``--ray`` gives what one process gives, whoever dies meanwhile."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from make_data import folder_set
from pixelwise.machine.files import PREFIX, write_json
from ray_cluster import LOOPBACK, Cluster, two_machines
from small_model import CLASSES, photo, save_model

COUNT = 40
pytestmark = [
    pytest.mark.slow,  # each process of a cluster imports torch
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and pictures in folders, of which one is broken."""
    root = tmp_path_factory.mktemp("ray")
    save_model(root / "net.safetensors")
    for i in range(COUNT):
        photo(root / "in" / f"sub{i % 3}" / f"{i}.png", size=(500, 600), seed=i)
    (root / "in" / "sub1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_machines() as made:
        yield made


def start(where: Path, *words: str, address: str = "") -> subprocess.Popen[str]:
    env = {**os.environ, **({"RAY_ADDRESS": address, **LOOPBACK} if address else {})}
    call = [sys.executable, "-m", "pixelwise", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(call, cwd=where, env=env, **pipes)


def finish(process: subprocess.Popen[str], code: int) -> tuple[dict[str, Any], str]:
    said, told = process.communicate(timeout=900)
    assert process.returncode == code, told
    return json.loads(said), told


def predict(out: str) -> tuple[str, ...]:
    save = "labels,overlay,areas,coco"
    return (
        "predict",
        "net.safetensors",
        "in",
        "-o",
        out,
        "--save",
        save,
        "--uncertain",
        "3",
        "--json",
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def labelled(folder: Path) -> int:
    return len([p for p in folder.rglob("*.png") if not p.name.startswith(".")])


def wait_for(count: int, folder: Path, process: subprocess.Popen[str]) -> None:
    while labelled(folder) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def plain(place: Path) -> dict[str, Any]:
    """What one process says, of the outputs in ``plain``."""
    return finish(start(place, *predict("plain")), 1)[0]


@pytest.fixture(scope="module")
def disturbed(place: Path, plain: dict[str, Any], cluster: Cluster) -> tuple[dict[str, Any], str]:
    """What is said of the outputs in ``spread``: a worker was killed, then a machine taken."""
    process = start(place, *predict("spread"), "--ray", "--threads", "1", address=cluster.address)
    wait_for(3, place / "spread", process)
    cluster.kill_a_worker()
    wait_for(10, place / "spread", process)
    cluster.remove_a_machine()
    assert process.poll() is None, "it ended before anything could happen to it"
    return finish(process, 1)


def test_outputs_are_those_of_one_process_though_a_worker_and_a_machine_die(
    place: Path, disturbed: tuple[dict[str, Any], str]
) -> None:
    assert disturbed[1].count("warning: a worker died (") >= 2
    assert contents(place / "spread") == contents(place / "plain")


def test_what_is_said_is_the_same_but_for_the_folder(
    plain: dict[str, Any], disturbed: tuple[dict[str, Any], str]
) -> None:
    said = json.loads(json.dumps(disturbed[0]).replace('"spread/', '"plain/'))
    # Of a picture whose worker died after it was written the next one says that it is there.
    assert said.pop("made") + said.pop("skipped") == COUNT
    again = [result for result in said["results"] if not result["made"]]
    assert len(again) <= 4
    for result in again:
        result["made"] = True
    assert said == {name: value for name, value in plain.items() if name not in ("made", "skipped")}


def test_a_broken_picture_is_listed_and_the_others_are_made(
    place: Path, disturbed: tuple[dict[str, Any], str]
) -> None:
    (line,) = (place / "spread" / "failures.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["path"] == "in/sub1/broken.png"
    assert disturbed[0]["failures"] == [json.loads(line)]


def test_a_second_run_makes_nothing(
    place: Path, disturbed: tuple[dict[str, Any], str], cluster: Cluster
) -> None:
    labels = [*(place / "spread").rglob("*.png")]
    before = {path: path.stat().st_mtime_ns for path in labels}
    said, _ = finish(start(place, *predict("spread"), "--ray", address=cluster.address), 1)
    assert (said["made"], said["skipped"]) == (0, COUNT)
    assert {path: path.stat().st_mtime_ns for path in labels} == before


def test_a_signal_stops_it_and_the_same_command_goes_on(
    place: Path, plain: dict[str, Any], cluster: Cluster
) -> None:
    call = (*predict("stopped"), "--ray", "--threads", "1")
    process = start(place, *call, address=cluster.address)
    wait_for(3, place / "stopped", process)
    process.send_signal(signal.SIGTERM)
    said, _ = finish(process, 143)
    assert said["hint"] == "run the same command again to go on"
    assert 3 <= labelled(place / "stopped") < COUNT
    made = {name for name in contents(place / "stopped") if f"/{PREFIX}" not in f"/{name}"}
    assert made < contents(place / "plain").keys()
    finish(start(place, *call, address=cluster.address), 1)
    assert contents(place / "stopped") == contents(place / "plain")


def test_evaluation_is_that_of_one_process(tmp_path: Path, cluster: Cluster) -> None:
    save_model(tmp_path / "net.safetensors")
    data = folder_set(tmp_path / "data", count=12)
    write_json(data / "classes.json", {"classes": list(CLASSES)})
    call = ("evaluate", "net.safetensors", "data", "--protocol", "all", "--json", "--save")
    one, _ = finish(start(tmp_path, *call, "plain"), 0)
    many, _ = finish(start(tmp_path, *call, "spread", "--ray", address=cluster.address), 0)
    assert many.pop("seconds_per_image") > 0
    assert one.pop("seconds_per_image") > 0
    assert many == one
    assert contents(tmp_path / "spread") == contents(tmp_path / "plain")


def test_this_machine_is_a_cluster_where_none_is_named(tmp_path: Path) -> None:
    save_model(tmp_path / "net.safetensors")
    photo(tmp_path / "in" / "a.png")
    call = ("predict", "net.safetensors", "in", "--json", "-o")
    finish(start(tmp_path, *call, "plain"), 0)
    said, told = finish(start(tmp_path, *call, "out", "--ray", "--threads", "1"), 0)
    assert said["made"] == 1
    assert told.endswith("1 made, 0 already there, 0 failed; in out\n")  # a busy machine is told
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    save_model(tmp_path / "net.safetensors")
    photo(tmp_path / "in" / "a.png")
    call = ("predict", "net.safetensors", "in", "-o", "out", "--ray", "--json")
    said, _ = finish(start(tmp_path, *call, address="127.0.0.1:1"), 5)
    assert said["code"] == "R009"
    assert not (tmp_path / "out").exists()
