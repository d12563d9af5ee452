"""The queue of a service, and workers that end."""

import asyncio
from dataclasses import replace

import pytest
from tests.service import Puppet, Reply, ask, crew_of, running

from pixelwise.errors import ResourceError
from pixelwise.serving.crew import Job, Refused
from pixelwise.serving.limits import Limits

pytest.importorskip("fastapi")


def together(*words: bytes, limits: Limits, puppet: Puppet) -> list[Reply]:
    """The replies to requests that arrive one after another while the worker is held."""

    async def scenario() -> list[Reply]:
        puppet.hold.clear()
        async with running(puppet, limits) as port:
            tasks = []
            for word in words:
                tasks.append(asyncio.create_task(ask(port, word)))
                await asyncio.sleep(0.05)
            puppet.hold.set()
            return list(await asyncio.gather(*tasks))

    return asyncio.run(scenario())


def test_one_more_than_the_queue_holds_is_refused_and_told_when_to_come_back() -> None:
    limits = Limits(queue=2, per_client=9, batch=1)
    replies = together(b"a", b"b", b"c", b"d", limits=limits, puppet=Puppet())
    assert [r.status for r in replies] == [200, 200, 200, 503]
    assert int(replies[3].headers["retry-after"]) >= 1
    assert replies[3].told["code"] == "R013"


def test_one_client_cannot_take_all_places() -> None:
    replies = together(b"a", b"b", b"c", limits=Limits(per_client=2), puppet=Puppet())
    assert [r.status for r in replies] == [200, 200, 429]


def test_those_that_wait_go_to_the_worker_together() -> None:
    puppet = Puppet()
    together(b"a", b"b", b"c", b"d", limits=Limits(batch=2), puppet=puppet)
    assert [len(batch) for batch in puppet.batches] == [1, 2, 1]


def test_a_picture_that_ends_workers_fails_and_its_neighbours_do_not() -> None:
    puppet = Puppet()
    replies = together(b"a", b"b", b"crash", b"c", limits=Limits(), puppet=puppet)
    assert [r.status for r in replies] == [200, 200, 500, 200]
    assert replies[2].told["code"] == "R010"
    assert puppet.starts == 3  # at first, and after each of its two trials


def test_a_picture_that_takes_too_long_fails_at_once() -> None:
    puppet = Puppet()
    replies = together(b"a", b"slow", b"b", limits=Limits(computing=7), puppet=puppet)
    assert [r.status for r in replies] == [200, 504, 200]
    assert "7 seconds" in replies[1].told["detail"]


def test_a_service_whose_workers_end_again_and_again_gives_up() -> None:
    async def scenario() -> tuple[list[int], int, ResourceError | None]:
        puppet = Puppet()
        crew = crew_of(puppet, replace(Limits(), crashes=3))
        await crew.start()
        states = []
        for i in range(2):
            answer = asyncio.get_running_loop().create_future()
            job = Job(str(i), {"model": "run"}, {"image": b"crash"}, "", answer)
            try:
                states.append(200 if "ended" in (await crew.answered(job))[0] else 0)
            except Refused as error:
                states.append(error.args[0])
        await asyncio.sleep(0.05)
        await crew.stop()
        return states, int(crew.ready), crew.failure  # type: ignore[return-value]

    states, ready, failure = asyncio.run(scenario())
    assert (states, ready) == ([200, 200], 0)
    assert failure is not None
    assert failure.code == "R010"


def test_a_client_that_goes_away_leaves_its_place() -> None:
    async def scenario() -> list[int]:
        puppet = Puppet()
        puppet.hold.clear()
        async with running(puppet, Limits(queue=1, batch=1)) as port:
            first = asyncio.create_task(ask(port, b"a"))
            await asyncio.sleep(0.05)
            leaving = asyncio.create_task(ask(port, b"b"))
            await asyncio.sleep(0.05)
            leaving.cancel()
            await asyncio.sleep(0.1)
            third = asyncio.create_task(ask(port, b"c"))
            await asyncio.sleep(0.05)
            puppet.hold.set()
            return [(await first).status, (await third).status]

    assert asyncio.run(scenario()) == [200, 200]
