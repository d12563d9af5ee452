"""Every net of the catalogue through every door: a table of what must hold, and for which nets.

A check is a function of a ``Case`` (``tests/every_net.py``), a narrow net with random weights that
is saved, loaded and trained as checks ask for it. Each check of the table is made of every net that
it is for; everyday tests leave most nets out, the slow ones none.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

import pixelwise as pw
from every_net import (
    EACH,
    EVERY_DAY,
    EXACT,
    FRAMED,
    PHOTOS,
    TRAINED,
    Case,
    Cases,
    Check,
    close,
    make,
    of_the_table,
    said,
)
from narrow_nets import (
    CLASSIFIERS,
    DISTINCT,
    SEGMENTERS,
    large,
    make_positive,
    picture,
    scores,
    width,
)
from pixelwise.engine.build import build
from pixelwise.engine.layout import layout_for
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.runner import ScoreMap, TorchRunner
from pixelwise.engine.spans import Span
from pixelwise.engine.streaming import Stream
from pixelwise.errors import DataError, ModelError, ResourceError, UsageError
from pixelwise.nets.catalog import NETS
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.pictures.images import resize
from pixelwise.weights.checkpoint import load_checkpoint, read_header, save_checkpoint
from random_weights import shaken


# -- as data and as a module ----------------------------------------------------------------------
def facts_are_those_of_its_maps(c: Case) -> None:
    """Layer by layer: what `nets NAME` says by arithmetic is what comes out."""
    heads = ["--heads", "sem=3,geo=2"] if "siftflow" in c.name else ["--classes", 5]
    for height, across in c.sizes()[-3:]:
        size = ["--size", f"{height}x{across}", "--width", width(c.name)]
        told = said("nets", c.name, *size, *heads)
        with torch.no_grad():
            maps = c.network.activations(picture(c.name, 1, height, across), c.net.layers)
        for row in told["layers"]:
            assert maps[row["name"]].shape == (1, row["channels"], row["height"], row["width"]), row
    assert told["parameters"] == sum(p.numel() for p in c.network.parameters())
    assert told["preprocess"] == c.entry.preprocess


def scores_have_the_pictures_size(c: Case) -> None:
    for size in c.sizes():
        with torch.no_grad():
            made = scores(c.network, picture(c.name, 1, *size))
        assert made.shape[:2] == (1, 5)
        assert c.name == "unet" or made.shape[2:] == size
        assert made.isfinite().all()


def a_batch_of_two_is_two_of_one(c: Case) -> None:
    x = picture(c.name, 2, *c.sizes()[-2])
    with torch.no_grad():
        both, one, two = (scores(c.network, part) for part in (x, x[:1], x[1:]))
    near = EXACT * float(both.abs().max())
    torch.testing.assert_close(both, torch.cat([one, two]), rtol=0, atol=near)
    assert not torch.equal(one, two)


def it_answers_alike_and_keeps_what_it_is_given(c: Case) -> None:
    """Twice, as a copy, out of a pickle, and of a picture that lies in memory the other way."""
    x = picture(c.name, 1, *c.sizes()[-2])
    before, turned = x.clone(), x.transpose(2, 3).contiguous().transpose(2, 3)
    with torch.no_grad():
        wanted = scores(c.network, x)
        for other in (c.network, copy.deepcopy(c.network), pickle.loads(pickle.dumps(c.network))):
            assert torch.equal(scores(other, x), wanted)
        near = EXACT * float(wanted.abs().max())
        torch.testing.assert_close(scores(c.network, turned), wanted, rtol=0, atol=near)
    assert torch.equal(x, before)


def its_weights_are_named_after_layers_and_fit_another(c: Case) -> None:
    state = c.network.state_dict()
    assert {key.rsplit(".", 1)[0] for key in state} <= set(c.net.layers)
    assert set(c.net.parameter_shapes()) <= set(state)
    twin = build(c.name, **c.options).eval()
    twin.load_state_dict(state)
    x = picture(c.name, 1, *c.sizes()[0])
    with torch.no_grad():
        assert torch.equal(scores(twin, x), scores(c.network, x))


def every_parameter_gets_a_gradient(c: Case) -> None:
    """The same bits where maps are computed again on the way back to save memory."""
    upsamples = any(layer.upsamples for layer in c.net.layers.values())
    network = build(c.name, **c.options, **({"learned": "all"} if upsamples else {})).eval()
    make_positive(network)
    # Residual blocks double it, and ReLU6 would cut it off.
    faint = 1e-4 * picture(c.name, 1, *large(c.name, 40, 40)).abs()
    grads = []
    for network.checkpointed in (False, True):
        network.zero_grad()
        scores(network, faint).sum().backward()
        grads.append({n: p.grad for n, p in network.named_parameters()})
    plain, checkpointed = grads
    assert not [n for n, grad in plain.items() if grad is None or not grad.any()]
    assert not [n for n, grad in plain.items() if not torch.equal(grad, checkpointed[n])]


def inputs_heads_and_fusions_of_ones_own(c: Case) -> None:
    """Two inputs, two heads, fused early and late: each head has its map, engine and file too."""
    parts = {"inputs": {"near": 2, "far": 1}, "heads": {"sem": 3, "geo": 2}}
    for fusion in ("early", "sum", "average"):
        options = {"width": width(c.name), "fusion": fusion, **parts}
        network = shaken(build(c.name, **options))
        x = torch.randn(1, 3, *c.sizes()[-2], generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            made = network(x)
        assert {head: maps.shape[1] for head, maps in made.items()} == parts["heads"]
        planned = PlannedRunner(network).maps(x)
        for head, maps in made.items():  # float32 rounds by what the trunk has: 1.4e-5 seen
            assert close(planned[head].whole(), maps, c, near=3 * EXACT)
        with torch.no_grad():
            x[:, 2] = 0  # both inputs count
            assert not any(torch.equal(made[head], maps) for head, maps in network(x).items())


# -- the engine -----------------------------------------------------------------------------------
def plain(c: Case, x: torch.Tensor) -> dict[str, ScoreMap]:
    return TorchRunner(c.network).maps(x)


def the_engine_gives_what_the_modules_give(c: Case) -> None:
    for size in (c.sizes()[0], *c.sizes()[-2:]):
        x = picture(c.name, 1, *size)
        made, wanted = c.planned.maps(x), plain(c, x)
        assert list(made) == list(wanted)
        for head, theirs in wanted.items():
            assert made[head].window == theirs.window
            whole = theirs.whole()
            assert close(made[head].whole(), whole, c)
            gap = whole.topk(2, 1).values.diff(dim=1).abs()[:, 0]
            same = made[head].labels() == theirs.labels()
            clear = same[gap > 2 * EXACT * whole.abs().max()].float()
            assert not clear.numel() or clear.mean() > (0.98 if c.moves else 0.9999)


def bands_of_rows_give_the_bits_of_the_whole(c: Case) -> None:
    height, across = c.sizes()[-1]
    x = picture(c.name, 1, height, across)
    whole, layout = c.planned.maps(x), layout_for(c.planned.plan, 1, height, across)
    for rows, columns, band in (
        (Span(0, height), Span(0, across), 1),
        (Span(height // 2, height), Span(7, across - 9), 2**12),
    ):
        carried_out = c.planned.streaming(Stream(layout, rows, columns, band))
        at = rows.first
        for strip, made in carried_out.labels(lambda r, c: x[0, :, slice(*r), slice(*c)]):
            assert strip.first == at
            for head, labels in made.items():
                wanted = whole[head].labels()[0, slice(*strip), slice(*columns)]
                assert torch.equal(labels, wanted)
                part = whole[head].rows(strip.first, strip.length)[0, :, :, slice(*columns)]
                assert torch.equal(carried_out.scores(head, strip).whole()[0], part)
            at = strip.end
        assert at == rows.end


def low_memory_gives_the_same_bits(c: Case) -> None:
    x = picture(c.name, 1, *c.sizes()[-2])
    low = PlannedRunner(c.network, memory="low").maps(x)
    for head, wanted in c.planned.maps(x).items():
        assert torch.equal(low[head].cells, wanted.cells)


def bfloat16_is_within_its_rounding(c: Case) -> None:
    """Eight bits of mantissa, through some twenty layers; the engine's and torch's."""
    x = picture(c.name, 1, *c.sizes()[-2])
    for runner in (PlannedRunner(c.network, bf16=True), TorchRunner(c.network, bf16=True)):
        for head, wanted in plain(c, x).items():
            made, whole = runner.maps(x)[head].whole(), wanted.whole()
            far = (made - whole).abs() / whole.abs().max()
            assert far.mean() < 0.02
            assert (far < 0.1).float().mean() > (0.9 if c.moves else 0.999)
            assert far.max() > 0


# -- as a file and a model ------------------------------------------------------------------------
def its_file_holds_the_same_bits(c: Case, made: Path) -> None:
    """Written, loaded, written again, imported as any foreign file, and shown."""
    first = load_file(c.file)
    for path in (c.model.save(made / "copy.safetensors"), made / "imported.safetensors"):
        if not path.exists():
            said("weights", "import", c.file, "-o", path)
        again = load_file(path)
        assert first.keys() == again.keys() == c.network.state_dict().keys()
        assert all(torch.equal(again[n], t) for n, t in c.network.state_dict().items())
    assert read_header(path).options == read_header(c.file).options
    assert c.name in json.dumps(said("weights", "show", c.file))


def a_picture_is_labelled_by_the_best_score(c: Case, made: Path) -> None:
    """As an array, at odd sizes; of three bands also as a file, its bytes and an image.

    A pixel that a coarse map has no cell for has the class of one that is there.
    """
    padded = c.classifies or c.name == "deconvnet-vgg16"
    for size in (c.sizes()[-1], c.size) if padded else ((1, 1), (2, 3), (31, 33), c.size):
        pixels = c.pixels(size=size)
        guess = c.model.predict(pixels, probabilities=True)
        for head, own in c.model.predictor.by_head(pixels, scores=True).items():
            labels = (guess.heads or {head: guess})[head].labels
            best = own.scores.argmax(0).numpy()
            assert labels.shape == size
            assert np.isin(labels, best).all() if c.classifies else np.array_equal(labels, best)
        np.testing.assert_allclose(guess.probabilities.sum(0), 1, atol=1e-5)
    if pixels.shape[2] == 3:
        photo = made / "photo.png"
        Image.fromarray(pixels).save(photo)
        for source in (photo, str(photo), photo.read_bytes(), Image.open(photo)):
            assert np.array_equal(c.model.predict(source).labels, guess.labels)
    if len(c.net.inputs) > 1:
        bands = np.split(pixels, np.cumsum([*c.net.inputs.values()])[:-1], axis=2)
        named = dict(zip(c.net.inputs, bands, strict=True))
        assert np.array_equal(c.model.predict(named).labels, guess.labels)


def two_showings_are_averaged(c: Case) -> None:
    """A picture and its mirror image: turned round, the mean is the same; twice as large, back."""
    pixels = c.pixels()
    both = c.model.shown(mirror=True).predictor
    by_head = both.by_head(pixels, scores=True)
    for head, other in both.by_head(pixels[:, ::-1], scores=True).items():
        assert close(other.scores.flip(2), by_head[head].scores, c)
        one = c.model.predictor.by_head(pixels[:, ::-1], scores=True)[head].scores.flip(2)
        plain = c.model.predictor.by_head(pixels, scores=True)[head].scores
        assert close((one + plain) / 2, by_head[head].scores, c)
    size = (2 * pixels.shape[0], 2 * pixels.shape[1])
    twice = c.model.shown(zoom=2).predictor.by_head(pixels, scores=True)
    for head, own in c.model.predictor.by_head(resize(pixels, size), scores=True).items():
        back = F.interpolate(own.scores[None], pixels.shape[:2], mode="bilinear")[0]
        assert close(twice[head].scores, back, c)


def a_coarse_map_is_not_averaged(c: Case) -> None:
    with pytest.raises(UsageError, match="gives a coarse map"):
        c.model.shown(mirror=True)
    assert c.model.shown(zoom=2).predict(c.pixels()).labels.size > 1


def what_does_not_fit_is_refused_by_name(c: Case, made: Path) -> None:
    pixels = c.pixels()
    with pytest.raises(DataError, match=rf"the net takes \(H, W, {pixels.shape[2]}\)") as caught:
        c.model.predict(np.concatenate([pixels] * 3, axis=2))
    assert caught.value.code == "D018"
    means = any(isinstance(layer, GlobalAvgPool) for layer in c.network.net.layers.values())
    if (c.classifies and not means) or c.name == "deconvnet-vgg16":  # a mean is of any map
        with pytest.raises(DataError, match=r"3x3 \(HxW\) is too small for the net") as caught:
            c.model.predict(pixels[:3, :3])
        assert caught.value.code == "D023"
    header, tensors = load_checkpoint(c.file)
    name = next(n for n, t in tensors.items() if t.is_floating_point())
    broken = tensors | {name: torch.full_like(tensors[name], torch.nan)}
    with pytest.raises(ModelError, match=f"`{name}` holds .* that are not finite") as refused:
        save_checkpoint(made / "nan.safetensors", broken, header)
    assert refused.value.code == "M020"
    part = {n: t for n, t in tensors.items() if n != name}
    path = save_checkpoint(made / "part.safetensors", part, header)
    with pytest.raises(ModelError, match=name) as refused:
        pw.load(path)
    assert refused.value.code == "M040"


def in_parts_its_labels_are_those_of_the_whole(c: Case) -> None:
    """A picture that does not fit into memory; a net that sees all of it cannot be cut."""

    def refused(*_: object) -> None:
        raise ResourceError("R003", "it does not fit whole")

    pixels = c.pixels(size=large(c.name, 150, 70))
    whole = c.model.predict(pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelwise.predict.memory.require", refused)
        parts = pw.load(c.file, device="cpu").predict(pixels)
    assert np.array_equal(parts.labels, whole.labels)
    for head, own in whole.heads.items():
        assert np.array_equal(parts.heads[head].labels, own.labels)


# -- the table ------------------------------------------------------------------------------------
TABLE = [
    Check(facts_are_those_of_its_maps, DISTINCT, EACH),
    Check(scores_have_the_pictures_size, SEGMENTERS, EACH),
    Check(a_batch_of_two_is_two_of_one, DISTINCT, EACH),
    Check(it_answers_alike_and_keeps_what_it_is_given, DISTINCT, EVERY_DAY),
    Check(its_weights_are_named_after_layers_and_fit_another, DISTINCT, EACH),
    Check(every_parameter_gets_a_gradient, SEGMENTERS, EACH),
    Check(inputs_heads_and_fusions_of_ones_own, PHOTOS, TRAINED),
    Check(the_engine_gives_what_the_modules_give, DISTINCT, EACH),
    Check(bands_of_rows_give_the_bits_of_the_whole, FRAMED, EVERY_DAY),
    Check(low_memory_gives_the_same_bits, DISTINCT, EVERY_DAY),
    Check(bfloat16_is_within_its_rounding, DISTINCT, EVERY_DAY),
    Check(its_file_holds_the_same_bits, DISTINCT, EVERY_DAY),
    Check(a_picture_is_labelled_by_the_best_score, DISTINCT, EVERY_DAY),
    Check(two_showings_are_averaged, SEGMENTERS, EVERY_DAY),
    Check(a_coarse_map_is_not_averaged, CLASSIFIERS, EVERY_DAY),
    Check(what_does_not_fit_is_refused_by_name, DISTINCT, EVERY_DAY),
    Check(in_parts_its_labels_are_those_of_the_whole, FRAMED, EVERY_DAY),
]


@pytest.mark.parametrize(("name", "holds"), of_the_table(TABLE))
def test_of_every_net(name: str, holds: Callable[..., None], cases: Cases, tmp_path: Path) -> None:
    make(cases[name], holds, tmp_path)


def test_every_kind_of_net_is_checked_every_day() -> None:
    assert EACH | {"nyud-fcn16s-color-hha"} >= EVERY_DAY
    assert {NETS[name].trunk for name in EACH} == {NETS[name].trunk for name in DISTINCT}
    assert all(check.everyday & {*check.of} for check in TABLE)
