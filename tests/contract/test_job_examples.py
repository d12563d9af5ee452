"""The jobs of ``examples/`` are read and carried out: their parts are the whole, each once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pixelwise.cli.app import run
from small_model import photo, save_model

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTES = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done > "$NOTED"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_model(tmp_path / "net.safetensors")
    for i in range(3):
        photo(tmp_path / "pictures" / f"{i}.png", seed=i)
    program = tmp_path / "bin" / "pixelwise"
    program.parent.mkdir()
    program.write_text(NOTES)
    program.chmod(0o755)
    return tmp_path


def called(place: Path, *command: str, **variables: str) -> list[str]:
    """What ``pixelwise`` is called with by a command that sees these variables."""
    noted = place / "noted"
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **variables, "PATH": path, "NOTED": str(noted)}
    subprocess.run(command, env=env, check=True, timeout=60)
    return noted.read_text().splitlines()


def labelled(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "labelled").glob("*.png"))


def test_tasks_of_a_slurm_array_label_a_folder_in_parts(place: Path) -> None:
    script = EXAMPLES / "slurm-array.sh"
    subprocess.run([shutil.which("bash") or "sh", "-n", script], check=True)
    given = [str(place / name) for name in ("net.safetensors", "pictures", "labelled")]
    slurm = {"SLURM_CPUS_PER_TASK": "1", "PARTS": "2"}
    words = [
        called(place, "sh", str(script), *given, SLURM_ARRAY_TASK_ID=str(i), **slurm)
        for i in (1, 2)
    ]
    assert run(words[0]) == 0
    assert labelled(place) == ["0.png", "2.png"]
    assert run(words[1]) == 0
    assert labelled(place) == ["0.png", "1.png", "2.png"]


def test_as_many_slurm_tasks_are_started_as_there_are_parts() -> None:
    text = (EXAMPLES / "slurm-array.sh").read_text("utf-8")
    assert "#SBATCH --array=1-64\n" in text
    assert "PARTS=${PARTS:-64}\n" in text


def test_pods_of_a_kubernetes_job_label_a_folder_in_parts(place: Path) -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes-job.yaml").read_text("utf-8"))
    spec = job["spec"]
    assert (job["kind"], spec["completionMode"]) == ("Job", "Indexed")
    (container,) = spec["template"]["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    parts = []
    for index in range(3):
        words = called(place, *command, JOB_COMPLETION_INDEX=str(index))
        parts.append(words[words.index("--shard") + 1])
        own = [word.replace("/shared", str(place)) for word in words]
        own[own.index("--threads") + 1] = "1"
        assert run(own) == 0
        assert labelled(place) == [f"{i}.png" for i in range(index + 1)]
    assert parts == [f"{i}/{spec['completions']}" for i in (1, 2, 3)]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    (ended,) = [r["onExitCodes"] for r in spec["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    assert ended["containerName"] == container["name"]
    assert 5 not in ended["values"]  # a full disk or memory may be better on the next try
