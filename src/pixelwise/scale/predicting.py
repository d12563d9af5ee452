"""``predict`` on a cluster: each worker gives some of the plan's pictures their turn.

What makes outputs whole, and each of them once, is what does so for processes that share a folder:
a record for each picture, and files that appear by their names when they are whole. Ray carries
what is to be done and what came of it: every machine reads and writes by the same paths.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pixelwise.errors import ModelError, UsageError
from pixelwise.machine.files import marked
from pixelwise.machine.memory import freed_memory_kept, limited, process_limit
from pixelwise.machine.signals import Caught
from pixelwise.pictures.videos import is_camera
from pixelwise.predict.claim import Work, clear, identity
from pixelwise.predict.model import Model
from pixelwise.predict.plan import Plan
from pixelwise.predict.sources import Job
from pixelwise.predict.turns import Outcome, Source, outcomes
from pixelwise.scale.cluster import Cluster, connected
from pixelwise.scale.spread import Carry, go_home, named, refuse_unseen, spread


@contextmanager
def on_cluster(
    plan: Plan, load: Callable[..., Model], device: str, threads: int
) -> Iterator[Source]:
    """Who gives the pictures of a plan their turn on a cluster; ``load`` is called there.

    Raises:
        UsageError: U002 a camera, which is this machine's; and as ``connected``.
        ResourceError: as ``connected``.
    """
    if camera := next((job.shown for job in plan.jobs if job.video and is_camera(job.shown)), ""):
        what = f"--ray with {camera}, a camera of this machine"
        raise UsageError("U002", what, "leave --ray out")
    with connected(device, threads) as cluster:
        load = partial(load, device=cluster.device, threads=cluster.threads)
        yield partial(_outcomes, cluster, load)


def _outcomes(
    cluster: Cluster,
    load: Callable[[], Model],
    work: Work,
    stop: Caught,
    watch: Callable[..., object],
) -> Generator[Outcome]:
    """As ``turns.outcomes``, but that long pictures are told when they are done."""
    plan, look = replace(work.plan, jobs=()), work.drawing
    share = partial(Work, plan, wanted=work.wanted, identity=work.identity, drawing=look)
    with marked(work.plan.out) as mark:
        there = Path.cwd(), mark, process_limit()
        opened = partial(_opened, load, partial(share, force=work.force), *there)
        each = spread(cluster, opened, work.plan.jobs, stop=stop)
        for job, outcome in zip(work.plan.jobs, each, strict=False):  # a signal ends it early
            if not isinstance(outcome, Outcome):
                outcome = Outcome(job, error=named(outcome, job.shown))
            refuse_unseen(outcome.error, job.source)
            if outcome.large:
                watch(1.0, job.source.name)
            yield outcome
    clear(work)  # what workers that were killed left


def _opened(
    load: Callable[[], Model], share: partial[Work], home: Path, mark: Path, limit: int
) -> Carry:
    """On a machine of the cluster: what gives batches of jobs their turn."""
    go_home(home, mark)
    drawing = share.keywords["drawing"]
    model = load().coloured(drawing.colours)
    if identity(model, drawing) != share.keywords["identity"]:
        what = f"{model.path} is another model than where it began"
        raise ModelError("M040", what, "run the same command again once it stays as it is")
    work = share(model=model)

    def carry(jobs: Sequence[Job]) -> list[Outcome]:
        mine = replace(work, plan=replace(work.plan, jobs=tuple(jobs)))
        with limited(limit), freed_memory_kept():
            return list(outcomes(mine, Caught(), lambda *_: None))

    return carry
