"""What several processes agree on, with the others' numbers given by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pixelwise.errors import PixelwiseError, ResourceError, UsageError
from pixelwise.training import processes
from pixelwise.training.recipe import Recipe

RUN = Path("run")


class Two:
    """A fabric of two processes, the other's tensor given; ``world`` of them, if it is one."""

    device, global_rank = torch.device("cpu"), 1

    def __init__(self, other: list[float], world: int = 2) -> None:
        self.other, self.world_size = torch.tensor(other, dtype=torch.float64), world

    def all_reduce(self, own: torch.Tensor, reduce_op: str) -> torch.Tensor:
        return own + self.other if reduce_op == "sum" else torch.maximum(own, self.other)


def test_numbers_of_all_processes_are_combined_and_one_alone_hears_itself() -> None:
    own = torch.tensor([1.0, 5.0], dtype=torch.float64)
    assert processes.combined(Two([3, 2]), own, "sum").tolist() == [4, 7]
    assert processes.combined(Two([3, 2]), own, "max").tolist() == [3, 5]
    assert processes.combined(Two([3, 2], world=1), own, "sum") is own


def test_processes_that_go_on_from_other_steps_are_refused() -> None:
    for own, other, first, last in ((40, 40, 0, 0), (40, 20, 20, 40), (20, 40, 20, 40)):
        fabric = Two([other, -other])
        if own == other:
            processes.refuse_other_step(fabric, own, RUN)
            continue
        with pytest.raises(UsageError, match=f"at step {last} .* at {first} for another") as caught:
            processes.refuse_other_step(fabric, own, RUN)
        assert caught.value.code == "U004"


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "False",
    "TORCHELASTIC_RESTART_COUNT": "0",
}


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_torchruns_processes_are_laid_out_over_the_machines(torchrun: pytest.MonkeyPatch) -> None:
    assert processes.launched() == 4
    assert processes.layout(Recipe(devices=4)) == {"devices": 2, "num_nodes": 2}
    with pytest.raises(UsageError, match="started 4 processes, and devices is 3") as caught:
        processes.layout(Recipe(devices=3))
    assert caught.value.hint == "--set devices=4"
    torchrun.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="3 of 4 processes are on this machine"):
        processes.layout(Recipe(devices=4))
    torchrun.delenv("TORCHELASTIC_RUN_ID")
    assert processes.launched() == 0
    assert processes.layout(Recipe(devices=3)) == {"devices": 3}


@pytest.mark.parametrize(("store", "restarts"), [("True", "0"), ("False", "1"), ("True", "1")])
def test_a_restart_that_keeps_the_dead_ones_addresses_is_refused(
    torchrun: pytest.MonkeyPatch, store: str, restarts: str
) -> None:
    torchrun.setenv("TORCHELASTIC_USE_AGENT_STORE", store)
    torchrun.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
    if (store, restarts) != ("True", "1"):
        assert processes.layout(Recipe(devices=4))["devices"] == 2
        return
    with pytest.raises(ResourceError, match="processes that have ended") as caught:
        processes.layout(Recipe(devices=4))
    assert caught.value.code == "R010"


@pytest.mark.parametrize("name", ["LOCAL_RANK", "NODE_RANK", "RANK"])
def test_the_first_process_is_the_first_by_every_count(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("LOCAL_RANK", "NODE_RANK", "RANK"):
        monkeypatch.delenv(other, raising=False)
    assert processes.is_first()
    monkeypatch.setenv(name, "0")
    assert processes.is_first()
    monkeypatch.setenv(name, "1")
    assert not processes.is_first()


class Told(PixelwiseError, RuntimeError):
    """An error of ours in the form of torch's."""


@pytest.mark.parametrize("text", ["Gloo connectFullMesh", "NCCL x", "Connection y", "broken pipe"])
def test_a_process_that_is_gone_is_told_by_those_that_are_left(text: str) -> None:
    error = RuntimeError(text)
    said = r"another of the run's 2 processes .* number 1"
    with pytest.raises(ResourceError, match=said) as told, processes.together(Two([])):
        raise error
    assert (told.value.code, told.value.__cause__) == ("R010", error)


@pytest.mark.parametrize(
    ("world", "error"),
    [
        (1, RuntimeError("connection closed")),  # alone there is no other one
        (2, RuntimeError("mat1 and mat2 cannot be multiplied")),
        (2, Told("R003", "the gloo of memory", "")),
        (2, ValueError("connection")),
    ],
)
def test_every_other_error_stays_as_it_is(world: int, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, processes.together(Two([], world)):
        raise error
    assert caught.value is error


def test_every_process_gets_the_first_ones_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[tuple[int, ...], int]] = []

    def broadcast(buffer: torch.Tensor, src: int) -> None:
        sent.append((tuple(buffer.shape), src))

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    net = torch.nn.BatchNorm2d(3)
    processes.same_buffers(SimpleNamespace(world_size=1), net)
    assert sent == []
    processes.same_buffers(SimpleNamespace(world_size=2), net)
    assert sent == [((3,), 0), ((3,), 0), ((), 0)]
