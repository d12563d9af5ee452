"""Freed memory that is kept, told by the resident size, and given back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pixelwise.errors import ResourceError
from pixelwise.machine import allocator
from pixelwise.machine.allocator import freed_memory_kept, give_back
from pixelwise.nets.catalog import spec
from pixelwise.predict import memory

glibc = pytest.mark.skipif(
    allocator._glibc() is None or allocator._limited(),
    reason="only glibc's allocator has these settings, and without a limit of address space",
)

BEGIN = """
from pixelwise.machine.allocator import freed_memory_kept, give_back

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
@pytest.mark.parametrize("name", allocator._CHOSEN_BY_USER)
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
    needed = 4 * memory.kept_for_gradients(net, ["score_fr"], 64, 64)
    there = [int(times * needed)]
    calls: list[None] = []

    def give() -> None:
        calls.append(None)
        there[0] = 2 * needed

    monkeypatch.setattr(memory, "available", lambda device: there[0])
    monkeypatch.setattr(allocator, "give_back", give)
    memory.check_step(net, ["score_fr"], (1, 64, 64), number=4, device=torch.device("cpu"))
    assert len(calls) == given_back


def test_what_does_not_fit_after_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(ResourceError, match="1,000 are available"):
        memory.check(spec("fcn8s-tiny"), 64, 64, torch.device("cpu"))
