"""The rules by which work goes round, on workers of this process that die when they are told to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pixelwise.errors import DataError, PixelwiseError, ResourceError
from pixelwise.machine.files import marked, remove_leftovers
from pixelwise.machine.signals import Caught
from pixelwise.scale import spread as spreading
from pixelwise.scale.cluster import Cluster
from pixelwise.scale.spread import TRIES, go_home, refuse_unseen, spread


class Death(BaseException):
    """What ends a worker."""


class RayError(Exception):
    """As Ray has it."""


class RayTaskError(RayError):
    """As Ray has it."""


class HandMadeRay:
    """The calls of Ray that are made, one worker after the other; nothing runs beside another."""

    def __init__(self) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.started: list[Any] = []

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: float) -> Callable[[type], Any]:
        def actor(kind: type) -> Any:
            return SimpleNamespace(remote=partial(self._start, kind))

        return actor

    def _start(self, kind: type, *args: Any) -> Any:
        handle = SimpleNamespace(alive=True)
        self.started.append(handle)
        try:
            worker: Any = kind(*args)
        except Death:
            handle.alive, worker = False, None
        call = partial(self._call, handle, worker)
        handle.carry_out = SimpleNamespace(remote=call)
        return handle

    def _call(self, handle: Any, worker: Any, items: Any) -> Any:
        return Reference(handle, lambda: worker.carry_out(items))

    def wait(self, refs: Sequence[Any], *, timeout: float, num_returns: int = 1) -> Any:
        return list(refs[:num_returns]), list(refs[num_returns:])

    def get(self, ref: Any) -> Any:
        if not ref.handle.alive:
            raise RayError("the worker died\nmore of it")
        try:
            return ref.result()
        except Death:
            ref.handle.alive = False
            raise RayError("the worker died\nmore of it") from None

    def kill(self, handle: Any) -> None:
        handle.alive = False


class Reference:
    def __init__(self, handle: Any, result: Callable[[], Any]) -> None:
        self.handle, self.result = handle, result


def cluster(workers: int = 2) -> Cluster:
    return Cluster(HandMadeRay(), workers, 1, "cpu")


def squares(items: Sequence[int]) -> list[int]:
    return [n * n for n in items]


def results(carry: Any, count: int, **options: Any) -> list[Any]:
    stop = options.pop("stop", Caught())
    where = options.pop("where", None) or cluster(**options)
    return list(spread(where, lambda: carry, range(count), stop=stop))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300])
def test_results_come_in_order_whatever_the_batches(count: int) -> None:
    assert results(squares, count, workers=3) == [n * n for n in range(count)]


def test_batches_leave_each_worker_several_and_are_of_at_most_sixteen() -> None:
    sizes: list[int] = []

    def carry(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return squares(items)

    results(carry, 64, workers=2)
    assert sizes == [4] * 16
    sizes.clear()
    results(carry, 1000, workers=2)
    assert max(sizes) == 16


def test_work_of_a_worker_that_died_is_done_by_another(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def carry(items: Sequence[int]) -> list[int]:
        for n in items:
            done.append(n)
            if n == 37 and done.count(37) == 1:
                raise Death
        return squares(items)

    where = cluster()
    assert results(carry, 100, where=where) == [n * n for n in range(100)]
    assert len(where.ray.started) == 3
    assert [handle.alive for handle in where.ray.started] == [False] * 3  # none outlives the work
    assert max(done.count(n) for n in range(100)) == 2
    assert "a worker died (the worker died); its work is done anew" in caplog.text


def test_an_item_that_brings_down_every_worker_is_given_up_alone() -> None:
    tries: list[int] = []

    def carry(items: Sequence[int]) -> list[int]:
        tries.extend(n for n in items if n == 50)
        if 50 in items:
            raise Death
        return squares(items)

    where = cluster()
    made = results(carry, 100, where=where)
    assert (made[50].code, str(made[50])) == ("R010", "whoever worked on it died, each of 4 times")
    assert made[:50] + made[51:] == [n * n for n in range(100) if n != 50]
    assert len(tries) == TRIES
    assert len(where.ray.started) == 2 + TRIES


def test_a_signal_ends_it_and_the_workers() -> None:
    stop, where = Caught(), cluster()
    going = spread(where, lambda: squares, range(1000), stop=stop)
    assert next(going) == 0
    stop.signal = 15
    assert len(list(going)) < 999
    assert not any(handle.alive for handle in where.ray.started)


def test_an_error_of_a_worker_is_raised_here_as_it_was() -> None:
    def carry(items: Sequence[int]) -> list[int]:
        raise DataError("D020", "a.png: broken", "look at it")

    with pytest.raises(DataError, match=r"^a\.png: broken\n"):
        results(carry, 3)


def test_a_worker_that_cannot_open_says_on_which_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading.platform, "node", lambda: "far-away")

    def opened() -> Any:
        raise ResourceError("R002", "out is not there")

    with pytest.raises(ResourceError) as raised:
        list(spread(cluster(), opened, range(3), stop=Caught()))
    assert str(raised.value) == "on far-away, a machine of the cluster: out is not there"


def test_another_version_on_a_machine_is_refused() -> None:
    worker = spreading.Worker(lambda: squares, "0.0.9")
    refusal = worker.carry_out([])
    assert isinstance(refusal, PixelwiseError)
    assert refusal.code == "R008"
    assert refusal.hint == "pip install pixelwise==0.0.9"


def test_workers_that_die_before_they_begin_end_it() -> None:
    def opened() -> Any:
        raise Death

    where = cluster(workers=1)
    with pytest.raises(ResourceError, match=r"die before they begin \(the worker died\)") as raised:
        list(spread(where, opened, range(3), stop=Caught()))
    assert raised.value.code == "R010"
    assert len(where.ray.started) == spreading.STARTS


def test_a_cluster_where_nothing_begins_is_remarked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where, stop, times = cluster(), Caught(), iter(range(0, 1000, 25))
    monkeypatch.setattr(spreading.time, "monotonic", lambda: next(times))

    def nothing(refs: Sequence[Any], **options: Any) -> Any:
        stop.signal = len(caplog.records)
        return [], list(refs)

    where.ray.wait = nothing
    with caplog.at_level(logging.WARNING):
        assert list(spread(where, lambda: squares, range(3), stop=stop)) == []
    assert "no worker has begun" in caplog.text


def test_a_worker_works_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    with marked(tmp_path / "out") as mark:
        go_home(tmp_path, mark)
    assert Path.cwd() == tmp_path


def test_a_folder_that_is_another_one_on_a_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with marked(tmp_path / "out") as mark:
        elsewhere = tmp_path / "other" / mark.name
        with pytest.raises(ResourceError, match="is not there, or is another folder") as raised:
            go_home(tmp_path, elsewhere)
    assert raised.value.code == "R002"


def test_a_mark_stays_for_its_time_whoever_tidies_up_and_not_after(tmp_path: Path) -> None:
    with marked(tmp_path) as mark:
        remove_leftovers(tmp_path)
        assert mark.exists()
    assert not list(tmp_path.iterdir())


def test_what_one_machine_does_not_see_is_no_broken_picture(tmp_path: Path) -> None:
    there, nowhere = tmp_path / "a.png", tmp_path / "b.png"
    there.write_bytes(b"...")
    missing, broken = DataError("D010", f"{there}: gone"), DataError("D020", f"{there}: broken")
    with pytest.raises(DataError, match="cannot be read on all machines of the cluster"):
        refuse_unseen(missing, nowhere, there)
    for error, path in ((missing, nowhere), (broken, there), (None, there)):
        refuse_unseen(error, path)
