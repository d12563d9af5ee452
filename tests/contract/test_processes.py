"""A run on two processes does what one process does with the whole batch."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from make_data import folder_set
from pixelwise.errors import ResourceError, UsageError
from pixelwise.folders import read_journal
from pixelwise.training import processes
from pixelwise.training.loop import train
from pixelwise.training.recipe import Augmentation, Optim, Recipe
from pixelwise.training.recipe_text import write_recipe
from pixelwise.training.state import generations

PROGRAM = ("-m", "pixelwise")

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without distribution"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data") / "set")


def recipe(data: Path, **changes) -> Recipe:
    """Five steps of a net without dropout, its batch norm frozen: nothing depends on the split."""
    settings = {
        "net": "fcn8s-tiny",
        "width": 0.5,
        "iterations": 5,
        "batch": 4,
        "crop": (32, 32),
        "ema": 0.9,
        "frozen_bn": True,
        "validate_every": 5,
        "threads": 1,
        "augment": Augmentation(mirror=True, scale=(0.7, 1.4)),
        "optim": Optim("sgd", lr=0.05),
    }
    return Recipe(data=str(data), **(settings | changes))


def start(
    plan: Recipe, run: Path, *more: str, by: Sequence[str] = (), program: Sequence[str] = PROGRAM
) -> subprocess.Popen[str]:
    """``by`` is torchrun with its options, as it stands before ``-m pixelwise``."""
    source = run.with_suffix(".yaml")
    write_recipe(source, plan)
    return subprocess.Popen(
        [sys.executable, *by, *program, "train", str(source), "-o", str(run), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict([processes.OWN_STORE.split("=")]) | {"OMP_NUM_THREADS": "1"},
    )


def torchrun(*options: str, processes: int = 2) -> list[str]:
    return ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *options]


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    said, told = process.communicate(timeout=900)
    assert process.returncode == code, told
    return said, told


LOSSES: dict[str, dict[str, dict]] = {
    "weighted": {"loss": {"class_weights": "sqrt"}},
    "summed": {"loss": {"reduction": "sum"}, "optim": {"lr": 2e-5}},
    "jaccard": {"loss": {"jaccard": 3.0}},
    "sampled": {"loss": {"keep": 0.5, "sample": "pixel"}},
}


def by_loss(plan: Recipe, **further: dict) -> Recipe:
    """Each loss in a stage of its own, from random weights: one start of processes for all."""
    stages = {name: {"weights": "", **LOSSES[name], **further.get(name, {})} for name in LOSSES}
    return plan.replace(stages=stages)


@pytest.fixture(scope="module")
def both(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A run of one process, the same of two that torchrun started, and what these said."""
    place, plan = tmp_path_factory.mktemp("runs"), recipe(data, iterations=3, validate_every=3)
    process = start(by_loss(plan.replace(batch=2)), place / "two", by=torchrun())
    # The Jaccard loss is of a micro-batch, so one process makes the same two of them.
    train(by_loss(plan, jaccard={"batch": 2, "accumulate": 2}), place / "one")
    return place / "one", place / "two", "".join(finish(process))


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_make_one_large_batch(both: tuple[Path, Path, str], loss: str) -> None:
    runs = [next(run.glob(f"?-{loss}")) for run in both[:2]]
    one, two = (load_file(generations(run)[-1]) for run in runs)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    first, second = (read_journal(run / "journal.jsonl") for run in runs)
    losses = [[e["loss"] for e in events if e["event"] == "step"] for events in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    checked = [[e for e in events if e["event"] == "validate"] for events in (first, second)]
    assert checked[0][0]["mean_iu"] == pytest.approx(checked[1][0]["mean_iu"], abs=0.02)
    assert (runs[1] / "report.html").exists()


def test_one_of_two_processes_speaks(both: tuple[Path, Path, str]) -> None:
    assert both[2].count("step 3: mean IU") == len(LOSSES)
    assert both[2].count("report: ") == 1


def test_a_signal_to_one_process_stops_both_and_the_run_goes_on(data, tmp_path) -> None:
    plan = recipe(data, batch=2, devices=2, iterations=100_000, save_every=2)
    run = tmp_path / "run"
    process = start(plan, run)
    while process.poll() is None and not generations(run):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = finish(process, 143)
    assert "--resume" in told
    reached = int(generations(run)[-1].stem.removeprefix("step-"))
    again = start(plan, run, "--resume")
    while again.poll() is None and int(generations(run)[-1].stem[5:]) <= reached:
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    finish(again, 143)
    assert "resume" in [e["event"] for e in read_journal(run / "journal.jsonl")]


def test_a_process_that_is_gone_ends_the_others_with_a_word(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(recipe(data, batch=2, devices=2, iterations=100_000, save_every=2), run)
    while process.poll() is None and not generations(run):
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not list a process's children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert "Traceback" not in told
    assert (process.returncode, "error R010" in told) == (5, True) or (
        process.returncode,
        "stopped at step" in told,
    ) == (143, True), told  # the launcher may stop the first process before it notices by itself
    assert generations(run)


def test_processes_agree_when_the_length_is_a_time(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, batch=2, devices=2, iterations=0, minutes=0.05, validate_every=0)
    plan = plan.replace(accumulate=20)  # few steps: what is learned is not the matter here
    finish(start(plan, tmp_path / "run"))
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert events[-1]["reason"] == "done"
    assert events[-1]["seconds"] >= 3


def test_a_mistake_in_the_recipe_ends_all_processes(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, devices=2, val_split="nowhere")
    _, told = finish(start(plan, tmp_path / "run"), 3)
    assert "nowhere" in told


COUNTING = """
import os, signal, sys
from pathlib import Path
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from pixelwise.__main__ import main
from pixelwise.training.step import Stepper

init, run = Stepper.__init__, Stepper.run
exchanges, at = sys.argv.pop(1), sys.argv.pop(1)

def counted(group, bucket):
    with Path(exchanges).open("a") as f:
        f.write(os.environ["RANK"])
    return allreduce_hook(group, bucket)

def prepared(self, *given):
    init(self, *given)
    self.wrapped._forward_module.register_comm_hook(None, counted)

def dying(self, step, batches):
    if at == f"{step} {os.environ['RANK']} {os.environ['TORCHELASTIC_RESTART_COUNT']}":
        os.kill(os.getpid(), signal.SIGKILL)
    return run(self, step, batches)

Stepper.__init__, Stepper.run = prepared, dying
sys.exit(main())
"""
"""The command, which notes each exchange of gradients, and at ``step rank restarts`` is killed."""


@pytest.mark.slow
def test_a_killed_process_costs_nothing_and_two_machines_are_as_one(data, tmp_path) -> None:
    """Two agents with a process each, and one agent of whose two processes one is killed."""
    program = tmp_path / "counting.py"
    program.write_text(COUNTING)
    plan = recipe(data, batch=1, accumulate=4, iterations=6, save_every=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for run, by, at in (
        (whole, [torchrun(*nodes, processes=1)] * 2, ""),
        (killed, [torchrun("--standalone", "--max-restarts", "1")], "3 1 0"),
    ):
        program_of = (str(program), str(run) + ".exchanges", at)
        for started in [start(plan, run, by=one, program=program_of) for one in by]:
            finish(started)
    one, two = (load_file(generations(run)[-1]) for run in (whole, killed))
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    events = read_journal(killed / "journal.jsonl")
    assert [e["step"] for e in events if e["event"] == "resume"] == [2]
    # Once a step, whatever is accumulated: 6 steps, and of the other run one that was lost.
    exchanged = [Path(f"{run}.exchanges").read_text() for run in (whole, killed)]
    assert [(text.count("0"), text.count("1")) for text in exchanged] == [(6, 6), (7, 7)]


def test_torchrun_and_recipe_must_agree_on_the_number_of_processes(monkeypatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert processes.layout(Recipe(devices=6)) == {"devices": 3, "num_nodes": 2}
    with pytest.raises(UsageError, match="torchrun started 6 processes, and devices is 2") as told:
        processes.layout(Recipe(devices=2))
    assert told.value.hint == "--set devices=6"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="4 of 6 processes are on this machine"):
        processes.layout(Recipe(devices=6))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(ResourceError, match="addresses of the processes that have ended") as lost:
        processes.layout(Recipe(devices=6))
    assert (lost.value.code, processes.OWN_STORE in lost.value.hint) == ("R010", True)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert processes.layout(Recipe(devices=6)) == {"devices": 6}


def test_a_machine_that_does_not_see_the_state_is_refused(tmp_path: Path) -> None:
    class Others:
        """A fabric of two processes, of which the other one is at the first step."""

        world_size, device = 2, torch.device("cpu")

        def all_reduce(self, values: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "max"
            return torch.maximum(values, torch.zeros_like(values))

    processes.refuse_other_step(Others(), 0, tmp_path)
    with pytest.raises(UsageError, match="is at step 7 for one process and at 0 for another"):
        processes.refuse_other_step(Others(), 7, tmp_path)


@pytest.mark.slow
def test_the_example_for_slurm_trains_with_the_variables_of_a_job(data, tmp_path) -> None:
    script = Path(__file__).parents[2] / "examples" / "torchrun-slurm.sh"
    wanted = re.findall(r"^#SBATCH --(\S+?)(?:=\S+)?$", script.read_text(), re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "requeue"} <= {*wanted}
    tools, run = tmp_path / "bin", tmp_path / "run"
    tools.mkdir()
    for name, line in {
        "scontrol": '[ "$*" = "show hostnames node[7-8]" ] && echo 127.0.0.1',
        "srun": 'exec "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    write_recipe(tmp_path / "plan.yaml", recipe(data, batch=2, iterations=2, validate_every=2))
    job = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NNODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_CPUS_PER_TASK": "2",
    }
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "plan.yaml"), str(run)],
        env=os.environ | job | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (start_of,) = [e for e in read_journal(run / "journal.jsonl") if e["event"] == "start"]
    assert start_of["recipe"]["devices"] == 2
