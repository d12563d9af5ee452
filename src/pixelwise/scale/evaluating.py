"""``evaluate`` on a cluster: workers label and count pictures, the counts are put together here.

They are whole numbers of each picture, which come in the order of the split: every figure that
follows from them is that of one process, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Item
from pixelwise.errors import PixelwiseError
from pixelwise.evaluation.evaluate import Evaluation, joined
from pixelwise.evaluation.on_dataset import refuse_taken, warn_of_leaks
from pixelwise.machine.files import marked
from pixelwise.machine.memory import freed_memory_kept
from pixelwise.machine.signals import Caught
from pixelwise.predict import on_data
from pixelwise.predict.model import Model
from pixelwise.scale.cluster import connected
from pixelwise.scale.spread import Carry, go_home, named, refuse_unseen, spread


def evaluate(
    load: Callable[..., Model],
    dataset: DataSet,
    split: str,
    *,
    keep: Path | None,
    mask: str,
    watch: Callable[[], object],
    device: str,
    threads: int,
) -> Evaluation:
    """As ``on_data.evaluate``, by the model that ``load`` gives on each machine.

    Raises:
        PixelwiseError: as it, and as ``connected``.
    """
    items, parts = dataset.items(split), list[Evaluation]()
    refuse_taken(keep, items, dataset)  # each worker looks at its own alone
    with connected(device, threads) as cluster, marked(keep) if keep else nullcontext() as mark:
        load = partial(load, device=cluster.device, threads=cluster.threads)
        score = partial(on_data.evaluate, split=split, keep=keep, mask=mask)
        opened = partial(_opened, load, dataset, score, Path.cwd(), mark)
        for item, part in zip(items, spread(cluster, opened, items, stop=Caught()), strict=True):
            if isinstance(part, PixelwiseError):
                part = named(part, str(item.image)) if part.code == "R010" else part
                refuse_unseen(part, *(path for item in items for path in item.files))
                raise part
            parts += [part] if part else []
            watch()
    whole = joined(parts)
    warn_of_leaks(whole.trained_on, dataset, split)
    return whole


def _opened(
    load: Callable[[], Model],
    dataset: DataSet,
    score: partial[Evaluation],
    home: Path,
    mark: Path | None,
) -> Carry:
    """On a machine of the cluster: what evaluates a batch as if it were the split.

    The evaluation, or what went wrong, is the first item's result, the others' are None: so the
    first error in order is the one that is told, as by one process.
    """
    go_home(home, mark)
    model = load()

    def carry(items: Sequence[Item]) -> list[Evaluation | PixelwiseError | None]:
        splits = {**dataset.splits, score.keywords["split"]: tuple(items)}
        made: Evaluation | PixelwiseError
        try:
            with freed_memory_kept():
                made = score(model, replace(dataset, splits=splits))
        except PixelwiseError as error:
            made = error
        return [made, *[None] * (len(items) - 1)]

    return carry
