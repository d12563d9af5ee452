from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest
import torch
from torch import Tensor

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.upsampling import bilinear_kernel
from pixelwise.errors import ModelError
from pixelwise.nets.net import Net
from pixelwise.weights.surgery import (
    Action,
    Row,
    Transplant,
    carry_out,
    inflated,
    other_classes,
    plan,
    score_layers,
    spread,
    spreads,
)


def meta(name: str, **options: object) -> Network:
    """A net of full width without memory: plans need shapes only."""
    with torch.device("meta"):
        return build(name, **options)


def narrow(name: str, seed: int = 0, **options: object) -> Network:
    torch.manual_seed(seed)
    return build(name, **{"width": 1 / 16, **options})


def shapes(transplant: Transplant) -> dict[str, str]:
    return {row.target or row.source: row.action for row in transplant.rows}


def row_of(transplant: Transplant, name: str) -> Row:
    return next(row for row in transplant.rows if name in (row.source, row.target))


VGG16_FC: Mapping[str, tuple[int, ...]] = {
    "conv1_1.weight": (64, 3, 3, 3),
    "conv1_1.bias": (64,),
    "fc6.weight": (4096, 25088),
    "fc6.bias": (4096,),
    "fc7.weight": (4096, 4096),
    "fc7.bias": (4096,),
    "fc8.weight": (1000, 4096),
    "fc8.bias": (1000,),
}


def test_vgg16_of_2014_becomes_the_trunk_of_an_fcn() -> None:
    foreign = {k: torch.empty(s, device="meta") for k, s in VGG16_FC.items()}
    transplant = plan(foreign, meta("fcn32s-vgg16"))
    assert [(r.target, r.target_shape) for r in transplant.of("reshaped")] == [
        ("fc6.weight", (4096, 512, 7, 7)),
        ("fc7.weight", (4096, 4096, 1, 1)),
    ]
    assert {r.source for r in transplant.of("dropped")} == {"fc8.weight", "fc8.bias"}
    assert {r.reason for r in transplant.of("dropped")} == {"no layer of this name"}
    assert row_of(transplant, "score_fr.weight").reason == "score layer, starts anew"
    assert len(transplant.of("missing")) == 2 * 12 + 2  # 12 other convolutions and score_fr
    assert not transplant.of("mismatched")


def test_a_fully_connected_layer_becomes_the_convolution_that_computes_the_same() -> None:
    net = Net()
    x = net.conv("fc6", net.data(3), 5, kernel=4)
    net.top = net.conv("fc7", x, 2)
    module = Network(net)
    fc6, fc7 = torch.nn.Linear(48, 5), torch.nn.Linear(5, 2)
    foreign = {
        f"{n}.{k}": v for n, m in (("fc6", fc6), ("fc7", fc7)) for k, v in m.state_dict().items()
    }
    carry_out(plan(foreign, module), foreign, module)
    x = torch.randn(2, 3, 4, 4)
    expected = fc7(fc6(x.flatten(1)))
    assert torch.allclose(module(x).flatten(1), expected, atol=1e-5)


def test_legacy_axes_of_length_one_are_reshaped() -> None:
    net = Net()
    net.top = net.conv("c", net.data(2), 3)
    foreign = {"c.weight": torch.ones(3, 2), "c.bias": torch.arange(3.0).reshape(1, 1, 1, 3)}
    module = Network(net)
    transplant = plan(foreign, module)
    assert shapes(transplant) == {"c.weight": "reshaped", "c.bias": "reshaped"}
    carry_out(transplant, foreign, module)
    assert module.state_dict()["c.bias"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 12), (12,), (1, 1, 1, 12)])
def test_one_output_is_reshaped_as_several_are(shape: tuple[int, ...]) -> None:
    net = Net()
    net.top = net.conv("fc", net.data(3), 1, kernel=2)
    foreign = {"fc.weight": torch.arange(12.0).reshape(shape)}
    module = Network(net)
    transplant = plan(foreign, module)
    assert shapes(transplant)["fc.weight"] == "reshaped"
    carry_out(transplant, foreign, module)
    x = torch.randn(1, 3, 2, 2)
    expected = x.flatten() @ torch.arange(12.0)
    assert module(x).item() == pytest.approx(expected.item(), rel=1e-5)


def test_scores_that_take_another_input_are_no_scores_of_other_classes() -> None:
    net = Net()
    net.top = net.conv("score", net.data(3), 4)
    module = Network(net)
    rows = plan({"score.weight": torch.ones(4, 5, 1, 1)}, module).of("mismatched")
    assert [other_classes(row, module.net) for row in rows] == [False]
    assert rows[0].reason == "20 numbers, expected 12"
    rows = plan({"score.weight": torch.ones(5, 3, 1, 1)}, module).of("mismatched")
    assert [other_classes(row, module.net) for row in rows] == [True]


def test_rows_of_another_matrix_are_not_channels() -> None:
    net = Net()
    net.top = net.conv("fc", net.data(3), 1, kernel=7)
    (row,) = plan({"fc.weight": torch.ones(3, 49)}, Network(net)).of("mismatched")
    assert row.reason == "3 classes in the file, 1 here; starts anew"


def test_equal_counts_of_other_axes_are_not_mixed_up() -> None:
    net = Net()
    net.top = net.conv("b", net.conv("a", net.data(2), 8), 4)
    for wrong in ((2, 8, 1, 1), (8, 1, 2, 1), (2, 8), (16,)):
        (row,) = plan({"a.weight": torch.ones(wrong)}, Network(net)).of("mismatched")
        assert row.target_shape == (8, 2, 1, 1)


def test_stages_hand_their_weights_on() -> None:
    coarse, fine = narrow("fcn32s-vgg16", 1), narrow("fcn16s-vgg16", 2)
    torch.nn.init.normal_(coarse.get_submodule("score_fr").weight)
    state = coarse.state_dict()
    transplant = plan(state, fine)
    assert {r.target for r in transplant.of("missing")} == {
        "score_pool4.weight",
        "score_pool4.bias",
    }
    assert len(transplant.of("copied")) == len(state)
    carry_out(transplant, state, fine)
    after = fine.state_dict()
    assert all(torch.equal(after[k], v) for k, v in state.items())
    assert not after["score_pool4.weight"].any()  # starts with the coarse net's prediction


def test_other_classes_start_the_scores_anew_and_keep_the_rest() -> None:
    old, new = narrow("fcn8s-vgg16", 1, classes=21), narrow("fcn8s-vgg16", 2, classes=4)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        torch.nn.init.normal_(old.get_submodule(name).weight)
    state = old.state_dict()
    transplant = plan(state, new)
    assert len(transplant.of("mismatched")) == 6
    row = row_of(transplant, "score_fr.weight")
    assert row.reason == "21 classes in the file, 4 here; starts anew"
    assert "the rest is kept" in transplant.notes[0]
    carry_out(transplant, state, new)
    after = new.state_dict()
    assert all(not after[r.target].any() for r in transplant.of("mismatched"))
    assert torch.equal(after["fc7.weight"], state["fc7.weight"])


# -- upsampling -------------------------------------------------------------------------------
def upscore(tensor: Tensor) -> Row:
    return row_of(plan({"upscore.weight": tensor}, meta("fcn32s-vgg16")), "upscore.weight")


def test_a_stored_bilinear_kernel_is_checked_not_copied() -> None:
    row = upscore(bilinear_kernel(64, 21))
    assert (row.action, row.reason) == (
        "dropped",
        "checked: it is the fixed bilinear kernel that the net computes",
    )
    assert upscore(bilinear_kernel(64, 1).repeat(21, 1, 1, 1)).reason == row.reason


def test_a_learned_kernel_is_said_to_be_another() -> None:
    learned = bilinear_kernel(64, 21)
    learned[3, 4, 5, 6] = 0.25
    assert upscore(learned).reason.startswith("NOT the fixed bilinear kernel")
    assert "0.25" in upscore(learned).reason
    assert "another kernel" in upscore(torch.zeros(21, 21, 63, 63)).reason
    assert "21 to 3 channels" in upscore(torch.zeros(21, 3, 64, 64)).reason


def test_a_net_that_learns_its_upsampling_takes_the_kernel() -> None:
    net = narrow("fcn16s-vgg16", classes=3, learned="all")
    foreign = {"upscore2.weight": torch.rand(3, 3, 4, 4)}
    transplant = plan(foreign, net)
    assert shapes(transplant)["upscore2.weight"] == "copied"
    assert row_of(transplant, "upscore16.weight").reason == "starts as the bilinear kernel"


# -- at once and light ------------------------------------------------------------------------
SKIPS = {"score_pool4.weight": torch.zeros(21, 512, 1, 1)}
SCALES = {"scale_pool4.weight": torch.full((512,), 0.01)}


@pytest.mark.parametrize(
    ("rule", "by_hand"),
    [
        ("zero", [1.0, 2.0, 6.0, 0.0, 0.0]),
        ("mean", [0.6, 1.2, 3.6, 1.8, 1.8]),
        ("repeat", [0.6, 1.2, 3.6, 0.6, 1.2]),
    ],
)
def test_filters_for_further_bands_by_hand(rule: str, by_hand: list[float]) -> None:
    filters = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1)
    assert inflated(filters, 5, rule).flatten().tolist() == pytest.approx(by_hand)
    assert inflated(filters, 3, rule).equal(filters)
    if rule == "mean":  # one band answers as grey did: three equal ones
        assert inflated(filters, 1, rule).flatten().tolist() == pytest.approx([9.0])
        assert inflated(filters, 2, rule).flatten().tolist() == pytest.approx([4.5, 4.5])


def test_a_trunk_of_colours_takes_further_bands_by_the_rule_that_is_named() -> None:
    """With zero it answers five bands as the first three, and the report says what was done."""
    colours, five = narrow("fcn32s-resnet18", seed=1).eval(), narrow("fcn32s-resnet18", channels=5)
    transplant = plan(colours.state_dict(), five, inflation="zero")
    (row,) = transplant.of("widened")
    assert (row.target, row.reason) == ("conv1.weight", "for data (5): by zero (docs/weights.md)")
    assert transplant.notes == (f"conv1.weight is widened {row.reason}",)
    carry_out(transplant, colours.state_dict(), five.eval())
    x = torch.randn(1, 5, 40, 40)
    torch.testing.assert_close(five(x), colours(x[:, :3]))
    grey = torch.randn(1, 1, 40, 40)
    carry_out(plan(colours.state_dict(), five), colours.state_dict(), five)
    torch.testing.assert_close(
        five(grey.expand(-1, 5, -1, -1)), colours(grey.expand(-1, 3, -1, -1))
    )


def test_at_once_and_staged_weights_are_not_mixed() -> None:
    with pytest.raises(ModelError, match="at-once weights") as caught:
        plan(SKIPS | SCALES, meta("fcn8s-vgg16"))
    assert (caught.value.code, caught.value.hint) == ("M040", "--net fcn8s-vgg16-atonce")
    with pytest.raises(ModelError, match="staged net") as caught:
        plan(SKIPS, meta("fcn8s-vgg16-atonce"))
    assert (caught.value.code, caught.value.hint) == ("M040", "--net fcn8s-vgg16")


def test_at_once_weights_and_classifiers_fit_the_at_once_net() -> None:
    assert "scale_pool4.weight" in {
        r.target for r in plan(SKIPS | SCALES, meta("fcn8s-vgg16-atonce")).of("copied")
    }
    trunk = {"conv1_1.bias": torch.zeros(64)}
    row = row_of(plan(trunk, meta("fcn8s-vgg16-atonce")), "scale_pool3.weight")
    assert (row.action, row.reason) == ("missing", "fixed factor 0.0001")


def test_the_light_nets_of_2014_are_translated() -> None:
    foreign = {
        "score.weight": torch.zeros(21, 4096, 1, 1),
        "score-pool4.weight": torch.zeros(21, 512, 1, 1),
        "score-pool3.weight": torch.zeros(21, 256, 1, 1),
        "score2.weight": bilinear_kernel(4, 21),
        "score4.weight": bilinear_kernel(4, 21),
        "bigscore.weight": bilinear_kernel(16, 21),
        "conv1_1.bias": torch.zeros(64),
    }
    transplant = plan(foreign, meta("fcn8s-vgg16"))
    assert {(r.source, r.target) for r in transplant.of("copied")} == {
        ("score.weight", "score_fr.weight"),
        ("score-pool4.weight", "score_pool4.weight"),
        ("score-pool3.weight", "score_pool3.weight"),
        ("conv1_1.bias", "conv1_1.bias"),
    }
    assert all(r.reason.startswith("checked") for r in transplant.of("dropped"))
    assert len(transplant.of("dropped")) == 3
    assert "2014" in transplant.notes[0]


def test_a_score_of_today_is_not_taken_for_a_light_one() -> None:
    transplant = plan({"score.weight": torch.zeros(21, 4096, 1, 1)}, meta("fcn8s-vgg16"))
    assert [r.source for r in transplant.of("dropped")] == ["score.weight"]


def test_two_tensors_for_one_place_are_refused() -> None:
    names = {"a.weight": "conv1_1.weight", "b.weight": "conv1_1.weight"}
    foreign = dict.fromkeys(names, torch.zeros(64, 3, 3, 3))
    with pytest.raises(ModelError, match="both belong to"):
        plan(foreign, meta("fcn32s-vgg16"), names=names)


# -- the rest ---------------------------------------------------------------------------------
def test_counters_of_batches_are_not_missed() -> None:
    net = narrow("fcn32s-tiny")
    state = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
    transplant = plan(state, net)
    assert len(state) < len(net.state_dict())
    assert len(transplant.of("copied")) == len(transplant.rows) == len(state)


def test_doubles_and_halves_are_cast_to_the_nets_type() -> None:
    net = narrow("fcn32s-tiny")
    state = {k: v.double() for k, v in net.state_dict().items() if v.is_floating_point()}
    other = narrow("fcn32s-tiny", 5)
    carry_out(plan(state, other), state, other)
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert all(torch.equal(other.state_dict()[k], v.float()) for k, v in state.items())


def test_score_layers_are_those_that_start_at_zero_and_the_classifier() -> None:
    assert score_layers(meta("fcn8s-vgg16").net) == {"score_fr", "score_pool4", "score_pool3"}
    assert score_layers(meta("googlenet").net) == {"loss3/classifier"}


def test_the_plan_is_plain_data() -> None:
    printed = plan(SKIPS, meta("fcn16s-vgg16")).as_dict()
    assert printed["counts"]["copied"] == 1
    assert set(printed["counts"]) == set(get_args(Action))
    assert sum(printed["counts"].values()) == len(printed["rows"])


# -- filters behind a lowered stride ---------------------------------------------------------------
def test_zeros_stand_between_the_weights_by_hand() -> None:
    short = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert spread(short, (1, 1, 4, 4))[0, 0].tolist() == expected
    assert spread(short.reshape(1, 4), (1, 1, 4, 4))[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        ((8, 5, 7, 7), (8, 5, 14, 14), True),
        ((8, 5 * 49), (8, 5, 14, 14), True),
        ((1, 1, 8, 5 * 49), (8, 5, 14, 14), True),  # Caffe's old four axes
        ((8, 5, 7, 7), (8, 5, 7, 7), False),
        ((8, 5, 7, 7), (8, 5, 15, 15), False),
        ((8, 5, 1, 1), (8, 5, 2, 2), False),  # a 1x1 filter does not grow
        ((8, 5, 7, 7), (8, 6, 14, 14), False),
        ((10, 4 * 49), (8, 5, 14, 14), False),  # as many numbers, of other layers
        ((8,), (8,), False),
        ((8, 5, 7, 14), (8, 5, 14, 14), False),
    ],
)
def test_which_filters_are_the_shorter_ones(
    have: tuple[int, ...], want: tuple[int, ...], fits: bool
) -> None:
    assert spreads(have, want) is fits


def test_a_fully_connected_classifier_fills_the_14x14_fc6() -> None:
    small = {"width": 1 / 16, "classes": 3}
    tensors = build("fcn32s-vgg16", **small).state_dict()
    fc6 = tensors["fc6.weight"]
    tensors["fc6.weight"] = fc6.flatten(1)
    lowered = build("fcn32s-vgg16", **small, lowered=["pool5"])
    transplant = plan(tensors, lowered)
    assert [row.target for row in transplant.of("rarefied")] == ["fc6.weight"]
    assert not transplant.of("mismatched", "missing", "dropped")
    carry_out(transplant, tensors, lowered)
    found = lowered.get_parameter("fc6.weight")
    assert found.shape[-2:] == (14, 14)
    assert torch.equal(found[..., ::2, ::2], fc6)
    assert found.count_nonzero() == fc6.count_nonzero()
