"""Freed memory that is kept, told by the resident size, and given back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.engine.memory import kept_for_gradients
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import ResourceError
from pixelwise.machine import memory
from pixelwise.machine.memory import freed_memory_kept, give_back
from pixelwise.nets.catalog import spec
from pixelwise.predict.memory import check_picture, check_step

glibc = pytest.mark.skipif(
    memory._glibc() is None or memory._address_space() is not None,
    reason="only glibc's allocator has these settings, and without a limit of address space",
)

BEGIN = """
from pixelwise.machine.memory import freed_memory_kept, give_back

def fill():
    bytearray(96 << 20)  # taken, cleared, freed

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

def tell():
    print(resident() - before)

before = resident()
"""


def megabytes(code: str, **environment: str) -> list[int]:
    """What a new process tells: the megabytes by which it is larger than it was."""
    command = [sys.executable, "-c", BEGIN + code]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return [int(line) for line in found.stdout.split()]


@glibc
def test_within_the_block_what_is_freed_stays() -> None:
    outside, once, again, after, later = megabytes("""
fill(); tell()
with freed_memory_kept():
    fill(); tell()
    for _ in range(4): fill()
    tell()
tell()
fill(); tell()
""")
    assert outside < 20
    assert 90 < once < 110
    assert again < 110  # the same memory
    assert after < 20
    assert later < 20


@glibc
def test_of_blocks_within_each_other_the_last_end_counts() -> None:
    within, after = megabytes("""
with freed_memory_kept():
    with freed_memory_kept(): pass
    fill(); tell()
tell()
""")
    assert within > 90
    assert after < 20


@glibc
def test_it_is_given_back_on_demand_and_after_an_error() -> None:
    kept, given, again, after = megabytes("""
try:
    with freed_memory_kept():
        fill(); tell()
        give_back(); tell()
        fill(); tell()
        raise KeyError
except KeyError:
    tell()
""")
    assert kept > 90
    assert given < 20
    assert again > 90
    assert after < 20


@glibc
@pytest.mark.parametrize("name", memory._CHOSEN_BY_USER)
def test_what_the_user_chose_is_left_alone(name: str) -> None:
    (within,) = megabytes("with freed_memory_kept(): fill(); tell()", **{name: "1000000"})
    assert within < 20


@glibc
def test_under_a_limit_of_address_space_nothing_is_kept() -> None:
    """A kept hole would be no use to a larger block, and could not be given back."""
    (within,) = megabytes("""
import resource
limit = (before << 20) + (2 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with freed_memory_kept():
    large = bytearray(1 << 30)
    small = [bytearray(1 << 16) for _ in range(200)]
    del large
    large = bytearray((1 << 30) + (1 << 28))
    del large
    tell()
""")
    assert within < 30


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
def test_elsewhere_nothing_is_called(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    """On Linux without glibc there is a library, and it is not asked for anything."""
    monkeypatch.setattr(sys, "platform", platform)
    library = SimpleNamespace() if platform == "linux" else None

    def opened(name: str | None) -> SimpleNamespace:
        assert library is not None, "opened"
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    with freed_memory_kept():
        pass
    give_back()


@pytest.mark.parametrize(("times", "given_back"), [(0.5, 1), (1.5, 1), (3, 0)])
def test_kept_memory_is_given_back_where_it_could_matter(
    monkeypatch: pytest.MonkeyPatch, times: float, given_back: int
) -> None:
    """What is there is so many times what a step needs; after giving back it is enough."""
    net = spec("fcn8s-tiny")
    needed = 4 * kept_for_gradients(net, ["score_fr"], 64, 64)
    there = [int(times * needed)]
    calls: list[None] = []

    def give() -> None:
        calls.append(None)
        there[0] = 2 * needed

    monkeypatch.setattr(memory, "available", lambda device: there[0])
    monkeypatch.setattr(memory, "give_back", give)
    check_step(net, ["score_fr"], (1, 64, 64), number=4, device=torch.device("cpu"))
    assert len(calls) == given_back


def test_what_does_not_fit_after_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(ResourceError, match="1,000 are available"):
        check_picture(TorchRunner(build("fcn8s-tiny")), (64, 64))


def test_memory_of_this_machine_is_read(tmp_path: Path) -> None:
    there = memory.available(torch.device("cpu"))
    assert there is None or there > 2**20
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50\n")
    assert memory._of_group(str(tmp_path)) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_group(str(tmp_path)) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are told by Linux alone")
def test_pages_of_a_mapped_file_are_given_back_unless_they_were_written_to(tmp_path: Path) -> None:
    path, count = tmp_path / "numbers", 1 << 22
    torch.arange(count, dtype=torch.float32).numpy().tofile(path)
    mapped = torch.from_file(str(path), size=count)

    def resident() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0]) >> 10

    def growth() -> int:
        return resident() - before

    before = resident()
    mapped.sum()
    assert growth() >= 12
    memory.give_back_pages(mapped)
    assert growth() <= 4
    assert torch.equal(mapped, torch.arange(count, dtype=torch.float32))
    mapped[1000] = -1
    memory.give_back_pages(mapped)
    assert (growth() >= 12, mapped[1000]) == (True, -1)
    memory.give_back_pages(mapped[2048:])
    assert growth() <= 4
    assert np.fromfile(path, np.float32)[1000] == 1000  # the file itself is never written to
    own = torch.ones(count)
    memory.give_back_pages(own)
    assert own.all()
