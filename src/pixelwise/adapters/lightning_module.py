"""A recipe as a ``LightningModule``: our data, net, loss, rates and scores in Lightning's loop.

``Trainer`` has the length, devices, precision and callbacks; of the recipe all else counts. Runs
that must go on bit for bit after a crash are ``pixelwise.train``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from pixelwise.data.transforms import collate
from pixelwise.errors import UsageError
from pixelwise.losses.cross_entropy import pixel_weight
from pixelwise.losses.of_classes import loss_of_classes
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.nets.heads.auxiliary import AT, SCORE
from pixelwise.training.feed import Batch, Feed
from pixelwise.training.optim import learning_rate, optimizer
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_data import read_data
from pixelwise.training.starting_net import header_of, starting_net
from pixelwise.training.step import covered, fixed_norms, seeded
from pixelwise.weights.checkpoint import save_checkpoint


class LightningSegmenter(LightningModule):
    """``Trainer(max_steps=300).fit(LightningSegmenter(recipe))``.

    Its data is the recipe's, unless ``fit`` is given loaders: of pictures (N, B, H, W) float32,
    preprocessed (``self.start.preprocess``), and labels (N, H, W), 255 void, or these by head.
    A mean is over each batch, be it accumulated or not. What is logged has the names of
    ``adapters/loggers.py``.

    Raises:
        DataError: anything wrong with the data.
        UsageError: U002 heads of numbers, and settings that only our own loop carries out.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        own = {"loss.keep": recipe.loss.keep < 1, "optim.in_backward": recipe.optim.in_backward}
        own |= {"ema": recipe.ema > 0, "mask": recipe.mask != "none", "stages": bool(recipe.stages)}
        if asked := [name for name, used in own.items() if used]:
            what = f"{', '.join(asked)}: not carried out in Lightning's loop"
            raise UsageError("U002", what, "leave it out, or pixelwise.train(recipe, run)")
        self.recipe, self.data = recipe, read_data(recipe)
        self.start = starting_net(recipe, self.data)
        self.net = self.start.net
        self.net.net.only_classes("LightningSegmenter")
        self.net.checkpointed = recipe.checkpoint
        self.class_weights = self.data.class_weights(recipe.loss.class_weights)
        self.counts: dict[str, Tensor] = {}
        self.scored: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Any:
        """Scores (N, K, H, W), of several heads by name."""
        return self.net(x)

    def train(self, mode: bool = True) -> LightningSegmenter:
        """As of any module, but for batch norm that the recipe freezes."""
        super().train(mode)
        for norm in fixed_norms(self.net, self.recipe) if mode else ():
            norm.eval()
        return self

    # -- steps --------------------------------------------------------------------------------
    def training_step(self, batch: Any, _: int) -> Tensor:
        """The weighted sum of the losses of all heads and auxiliaries."""
        x, labels = self._batch(batch)
        layers = self.net.net.in_training.outputs
        with seeded(self.recipe.seed, self.global_step, self.global_rank, self.device):
            maps = self.net(x, {*layers.values()})
        of = {name: self._loss(name, maps[layer], labels) for name, layer in layers.items()}
        total = sum(self.recipe.loss.factor(name) * loss for name, loss in of.items())
        self.log("loss", total, prog_bar=True, batch_size=len(x))
        assert isinstance(total, Tensor)
        return total

    def _loss(self, name: str, made: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        aim, head = self.recipe.loss, name.partition(AT)[0]
        truth = covered(self.net.net.in_training, labels[head], name)
        by_class = self.class_weights.get(head, torch.ones(made.shape[1])).to(made.device)
        weights = by_class.repeat(len(truth), 1)
        if aim.reduction == "mean":
            weights = weights / pixel_weight(truth, by_class).clamp_min(1e-12)
        elif aim.reduction == "image":
            each = torch.stack([pixel_weight(one, by_class) for one in truth]).clamp_min(1e-12)
            weights = weights / (len(truth) * each[:, None])
        return loss_of_classes(aim, made, truth, weights, 1)

    def validation_step(self, batch: Any, _: int) -> None:
        """Count pixels by (true, predicted) class."""
        x, labels = self._batch(batch)
        maps = self.net(x, {*self.net.net.outputs.values()})
        for head, layer in self.net.net.outputs.items():
            truth = covered(self.net.net, labels[head], head).cpu().numpy()
            guess, classes = maps[layer].argmax(1).cpu().numpy(), maps[layer].shape[1]
            counted = torch.from_numpy(confusion(truth, guess, classes)).to(self.device)
            self.counts[head] = self.counts.get(head, 0) + counted

    def on_validation_epoch_end(self) -> None:
        """Log the paper's scores over all pictures of all processes."""
        scored = {}
        for head, own in self.counts.items():
            counts = self.trainer.strategy.reduce(own, reduce_op="sum").cpu().numpy()
            scored[head] = made = scores(counts).as_dict()
            where = f"validation/{head}/" if len(self.counts) > 1 else "validation/"
            self.log_dict({where + k: float(v) for k, v in made.items() if isinstance(v, float)})
        self.scored, self.counts = next(iter(scored.values()), {}), {}

    def _batch(self, batch: Any) -> Batch:
        x, labels = batch
        first = next(iter(self.net.net.outputs))
        return x, dict(labels) if isinstance(labels, Mapping) else {first: labels}

    # -- rates --------------------------------------------------------------------------------
    def configure_optimizers(self) -> Any:
        """The recipe's parameter groups, and its schedule over the trainer's steps."""
        made, o = optimizer(self.net, self.recipe), self.recipe.optim
        total = self.trainer.estimated_stepping_batches

        def factor(step: int) -> float:
            return learning_rate(o, self.recipe.schedule, step, step / total) / o.lr

        schedule = torch.optim.lr_scheduler.LambdaLR(made, factor)
        return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Lightning leaves modes as they are."""
        self.train()

    # -- in and out ---------------------------------------------------------------------------
    def train_dataloader(self) -> _Batches:
        """An epoch of the recipe's samples, which follow from its seed and the epoch alone."""
        rank, world = self.global_rank, self.trainer.world_size
        recipe = self.recipe.replace(accumulate=1)  # Trainer has accumulate_grad_batches
        data, preprocess, rare = self.data, self.start.preprocess, self.data.rare
        feed = Feed(data.items, data.read, recipe, preprocess, rare=rare, rank=rank, world=world)
        count = -(len(data.items) // -(recipe.batch * world))
        return _Batches(count, lambda i: feed.batch(self.current_epoch * count + i))

    def val_dataloader(self) -> _Batches:
        """This process's pictures of the validation split, whole, one by one."""
        own = self.data.held_out[self.global_rank :: self.trainer.world_size]

        def batch(i: int) -> Batch:
            images, heads = collate([self.data.read(own[i])], self.start.preprocess)
            return torch.from_numpy(images), {h: torch.from_numpy(m) for h, m in heads.items()}

        return _Batches(len(own), batch)

    def save(self, path: Path | str) -> Path:
        """A checkpoint of ours, as ``pixelwise.load`` takes it, with the last scores."""
        split = {"split": self.recipe.val_split} if self.scored else {}
        header = header_of(self.recipe, self.data, self.start)
        header = replace(header, step=self.global_step, scores=split | self.scored)
        kept = self.net.state_dict().items()
        return save_checkpoint(path, {n: w for n, w in kept if not n.startswith(SCORE)}, header)


@dataclass(frozen=True)
class _Batches:
    """What Lightning takes for a loader."""

    count: int
    made: Callable[[int], Batch]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        if index >= self.count:
            raise IndexError(index)
        return self.made(index)
