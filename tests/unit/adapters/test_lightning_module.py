"""The Lightning module beside our own loop: the same weights, the same scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from make_data import folder_set
from small_runs import recipe

pytest.importorskip("lightning")
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.adapters.lightning_module import LightningSegmenter
from pixelwise.errors import UsageError
from pixelwise.machine.files import write_json
from pixelwise.training.recipe import Loss, Optim, Schedule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's hints on loaders and workers
SMALL = {"width": 1 / 16, "device": "cpu", "val_split": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder_set(tmp_path_factory.mktemp("data") / "set", count=8)
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road"]})
    return root


def fitted(plan: pw.Recipe, folder: Path, steps: int, **options) -> LightningSegmenter:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    module = LightningSegmenter(plan)
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, **{**quiet, **options}
    )
    trainer.fit(module)
    return module


def test_it_comes_to_the_weights_of_our_own_loop(data: Path, tmp_path: Path) -> None:
    """Batches, loss, factors on rates, schedule and batch norm are all the same."""
    plan = recipe(
        data,
        **SMALL,
        iterations=6,
        batch=2,
        optim=Optim("sgd", 0.05, rates={"score*": 0.5, "bn1_1": 0.0}, momentum=0.9),
        schedule=Schedule("poly", warmup=2),
        loss=Loss(class_weights="sqrt", jaccard=0.5),
    )
    pw.train(plan, tmp_path / "run")
    theirs = fitted(plan, tmp_path, 6, enable_checkpointing=False)
    ours = load_file(tmp_path / "run/weights/last.safetensors")
    begun = LightningSegmenter(plan).net.state_dict()
    made = theirs.net.state_dict()
    floats = [name for name, value in made.items() if value.is_floating_point()]
    assert len(floats) > 20

    def far(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
        return float(torch.cat([(one[n] - other[n]).flatten() for n in floats]).norm())

    # Our loop computes convolutions otherwise, and steps carry the rounding on; half a rate, or
    # another batch, is farther than the way.
    assert far(made, ours) < 0.1 * far(ours, begun)
    assert torch.equal(begun["bn1_1.running_mean"], theirs.net.state_dict()["bn1_1.running_mean"])


def test_its_checkpoint_is_ours_and_has_the_scores_that_were_logged(
    data: Path, tmp_path: Path
) -> None:
    plan = recipe(data, **SMALL | {"val_split": "val"}, batch=4)
    module = fitted(plan, tmp_path, 4, enable_checkpointing=True)
    logged = {k: float(v) for k, v in module.trainer.callback_metrics.items()}
    model = pw.load(module.save(tmp_path / "model.safetensors"), device="cpu")
    assert (model.classes, model.header.step) == (("sky", "grass", "road"), 4)
    found = model.evaluate(data, "val").scores
    assert logged["validation/mean_iu"] == pytest.approx(found.mean_iu)
    assert model.header.scores["mean_iu"] == pytest.approx(found.mean_iu)
    (saved,) = tmp_path.rglob("*.ckpt")
    again = LightningSegmenter(plan)
    again.load_state_dict(torch.load(saved, weights_only=True)["state_dict"])
    for name, value in module.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])


def test_it_goes_on_from_lightnings_checkpoint(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, **SMALL, batch=4, schedule=Schedule("fixed"))
    whole = fitted(plan, tmp_path / "a", 6)
    half = fitted(plan, tmp_path / "b", 6, max_epochs=1)
    assert half.global_step < 6
    (saved,) = (tmp_path / "b").rglob("*.ckpt")
    module = LightningSegmenter(plan)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_steps=6, accelerator="cpu", default_root_dir=tmp_path / "c", **quiet)
    trainer.fit(module, ckpt_path=saved)
    for name, value in module.net.state_dict().items():
        torch.testing.assert_close(value, whole.net.state_dict()[name], msg=name)


def test_other_loaders_and_loggers_are_taken(data: Path, tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    plan = recipe(data, **SMALL | {"frozen_bn": True}, batch=4)
    module = LightningSegmenter(plan)
    picture = torch.randn(3, 40, 33, generator=torch.Generator().manual_seed(0))
    own = DataLoader([(picture, torch.ones(40, 33, dtype=torch.uint8))] * 3, batch_size=1)
    logger = CSVLogger(tmp_path)
    before = {k: v.clone() for k, v in module.net.state_dict().items()}
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=logger, log_every_n_steps=1,
        enable_progress_bar=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, own, own)
    rows = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    assert {"loss", "validation/mean_iu"} <= set(names)
    losses = [float(v) for row in rows[1:] if (v := row.split(",")[names.index("loss")])]
    assert losses[-1] < losses[0]
    assert torch.equal(module.net.state_dict()["bn1_1.running_mean"], before["bn1_1.running_mean"])


def test_what_only_our_loop_does_is_refused(data: Path) -> None:
    plan = recipe(data, **SMALL, ema=0.9, loss=Loss(keep=0.5))
    with pytest.raises(UsageError, match=r"loss\.keep, ema: not carried out"):
        LightningSegmenter(plan)
