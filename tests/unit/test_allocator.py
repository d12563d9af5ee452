"""Freed memory that is kept: counted in page faults, and given back at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise import allocator
from pixelwise.allocator import freed_memory_kept, give_back
from pixelwise.errors import ResourceError
from pixelwise.inference import memory
from pixelwise.nets.catalog import spec

resource = pytest.importorskip("resource", reason="page faults are counted on Unix only")
MEGABYTES = 96
PAGES = MEGABYTES * 2**20 // resource.getpagesize()

glibc = pytest.mark.skipif(
    allocator._glibc() is None, reason="only glibc's allocator has these settings"
)


def fill() -> None:
    np.empty(MEGABYTES * 2**20, np.uint8).fill(1)


def faults(times: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@glibc
def test_a_block_that_is_freed_is_taken_again_without_a_page_fault() -> None:
    with freed_memory_kept():
        fill()
        assert faults(times=5) < PAGES / 10


@glibc
def test_at_the_end_it_is_given_back() -> None:
    with freed_memory_kept():
        fill()
        within = resident()
    assert resident() < within - 0.9 * PAGES
    fill()
    assert resident() < within - 0.9 * PAGES


@glibc
def test_it_is_given_back_on_demand() -> None:
    with freed_memory_kept():
        fill()
        within = resident()
        give_back()
        assert resident() < within - 0.9 * PAGES


@glibc
def test_it_is_given_back_after_an_error() -> None:
    within = 0

    def fail() -> None:
        nonlocal within
        with freed_memory_kept():
            fill()
            within = resident()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert resident() < within - 0.9 * PAGES


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with freed_memory_kept():
        fill()
    give_back()


def test_memory_that_is_kept_does_not_refuse_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    net = spec("fcn8s-tiny")
    there = [1000]
    monkeypatch.setattr(memory, "available", lambda device: there[0])
    monkeypatch.setattr(allocator, "give_back", lambda: there.__setitem__(0, 10**12))
    memory.check(net, 64, 64, torch.device("cpu"))
    there[0] = 1000
    monkeypatch.setattr(allocator, "give_back", lambda: None)
    with pytest.raises(ResourceError, match="1,000 are available"):
        memory.check(net, 64, 64, torch.device("cpu"))
