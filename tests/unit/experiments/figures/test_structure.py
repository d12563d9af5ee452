"""What diagrams show of a net is what its spec says, for every net of the catalogue."""

from __future__ import annotations

import pytest

from pixelwise.experiments.figures.structure import (
    MOST_SLABS,
    Term,
    below,
    chain,
    head,
    levels,
    named,
    scale_of,
    slabs,
    streams,
)
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.net import Net


def head_of(name: str):
    net = spec(name)
    return net, head(net, next(iter(net.outputs.values())))


def test_fcn8s_adds_what_figure_3_of_the_paper_adds() -> None:
    net, read = head_of("fcn8s-vgg16")
    assert (read.bottom, read.terms, read.scored) == ("score_fr", (Term("fc7"),), True)
    assert [(j.kind, {(t.source, t.by) for t in j.terms}) for j in read.joins] == [
        ("Sum", {("fc7", 2), ("pool4", 1)}),
        ("Sum", {("fc7", 4), ("pool4", 2), ("pool3", 1)}),
    ]
    (trunk,) = streams(net, read.bottom).values()
    shown = levels(net, trunk, [read])
    assert shown == ["data", "pool1", "pool2", "pool3", "pool4", "pool5", "fc7"]


def test_alexnet_s_slabs_have_the_channel_widths_of_figure_1() -> None:
    net, read = head_of("fcn32s-alexnet")
    layers = slabs(net, streams(net, read.bottom)["data"])
    assert [net.channels[n] for n in layers] == [96, 256, 384, 384, 256, 4096, 4096, 21]


def test_a_skip_that_reads_no_pool_is_drawn_at_the_layer_it_reads() -> None:
    net, read = head_of("fcn4s-resnet18")
    shown = levels(net, streams(net, read.bottom)["data"], [read])
    assert shown == ["data", "conv1", "res2b", "res3b", "res4b", "res5a", "res5b"]
    assert [term.by for term in read.joins[-1].terms] == [8, 4, 2, 1]


def test_late_fusion_has_a_trunk_for_each_input_and_both_scores_in_its_sum() -> None:
    net, read = head_of("nyud-fcn32s-color-hha")
    assert read.terms == (Term("fc7color"), Term("fc7hha"))
    assert [levels(net, c, [read])[-1] for c in streams(net, read.bottom).values()] == [
        "fc7color",
        "fc7hha",
    ]
    assert list(streams(*_with_bottom("nyud-fcn32s-color-d"))) == ["data"]


def _with_bottom(name: str) -> tuple[Net, str]:
    net, read = head_of(name)
    return net, read.bottom


def test_decoders_join_by_concatenation_and_by_indices() -> None:
    _, unet = head_of("unet-tiny")
    assert [(j.kind, j.terms[1].source) for j in unet.joins] == [
        ("Concat", f"pool{n}") for n in (4, 3, 2, 1)
    ]
    _, segnet = head_of("segnet-tiny")
    assert [(j.kind, j.terms[1].source) for j in segnet.joins] == [
        ("Unpool", f"pool{n}") for n in (5, 4, 3, 2, 1)
    ]
    assert not unet.scored
    assert not segnet.scored


def test_a_chain_has_the_layers_that_no_edge_leads_past() -> None:
    net = Net()
    net.data(3)
    a = net.conv("a", "data", 4)
    b = net.conv("b", a, 4)
    net.sum("c", a, b)  # leads past b
    net.conv("d", "c", 2)
    assert chain(net, "data", "d") == ["data", "a", "c", "d"]
    assert below(net, "b") == ["data", "a", "b"]


@pytest.mark.parametrize("name", NETS)
def test_every_net_of_the_catalogue_can_be_read(name: str) -> None:
    net = spec(name)
    heads = [head(net, output) for output in net.outputs.values()]
    for one in heads:
        assert all(term.by >= 1 for join in one.joins for term in join.terms)
        for join in one.joins:  # every term ends at the stride of its join, enlarged so often
            for term in join.terms:
                if join.kind != "Unpool":
                    assert scale_of(net, term.source) == term.by * scale_of(net, join.layer)
    for trunk in streams(net, heads[0].bottom).values():
        shown = levels(net, trunk, heads)
        scales = [scale_of(net, layer) for layer in shown]
        assert scales == sorted(scales)
        assert all(named(net, layer) == layer for layer in shown)
        drawn = slabs(net, trunk)
        assert 0 < len(drawn) <= MOST_SLABS
        assert (
            drawn[-1] == [n for n in trunk if net.layers[n].convolves][-1]
            or len(net.layers[drawn[-1]].reads) > 1
        )
