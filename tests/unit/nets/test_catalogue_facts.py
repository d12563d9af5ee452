"""Every net of the catalogue is what it was, so that weights of today fit and mean the same.

A checkpoint names its net and holds arrays by layer: what a net is stands nowhere in it. So each
stands in ``catalogue.txt``, with figures that can be compared with papers, and a hash of all the
rest: layers in their order with all that they are set to, their channels, sizes, fields, places,
parameters and multiply-adds. After a change on purpose

    python tests/unit/nets/test_catalogue_facts.py

writes it anew. That the figures are right is held by ``test_trunks.py`` and its neighbours.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.heads.auxiliary import supervise
from pixelwise.nets.net import Net

FACTS = Path(__file__).with_name("catalogue.txt")
SIDE = 224  # pixels, for which most papers count multiply-adds
COLUMNS = ("parameters", "field", "stride", "depth", "layers", "crops", "sizes", "macs", "hash")
PARTS = {"heads": {"sem": 5, "geo": 3}}
TWO = {"inputs": {"color": 3, "depth": 1}}
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("fcn8s-vgg16", {"width": 0.3, "classes": 7, "channels": 5}),
    ("fcn8s-vgg16", {"learned": "inner"}),
    ("fcn8s-alexnet", {"learned": "all"}),
    ("fcn16s-googlenet-tight", PARTS),
    ("fcn16s-resnet18", {**TWO, "fusion": "sum"}),
    ("fcn4s-tiny", {**TWO, "fusion": "average", **PARTS}),
    ("fcn8s-vgg16-atonce", {**TWO, "fusion": "average"}),
    ("fcn-spectral", {"channels": 100, **PARTS}),
    ("deeplabv2-vgg16", {**TWO, "fusion": "average", **PARTS}),
    ("deeplabv3-tiny", {**TWO, "learned": "all"}),
    ("unet-resnet18", {**TWO, "fusion": "sum"}),
    ("pspnet-mobilenetv2", {"width": 0.25}),
    ("fcn32s-vgg16", {"rarefied": ["pool4", "pool5"]}),
    ("fcn8s-alexnet", {"rarefied": ["pool5"]}),
    ("fcn32s-mobilenetv2", {"rarefied": ["block14_dwise"]}),
    ("fcn32s-vgg16", {"lowered": ["pool5"]}),
    ("googlenet", {"rarefied": ["pool4/3x3_s2"], "classes": 10}),
)


def every_net() -> dict[str, Net]:
    nets = {name: spec(name) for name in NETS}
    nets |= {f"{name} {options}": spec(name, **options) for name, options in OTHERS}
    for name, layers in (("fcn8s-tiny", ["pool3", "score_fr"]), ("unet", ["relu_d2c"])):
        net = nets[f"{name} supervised"] = spec(name, kinds={"edges": {"kind": "edges"}})
        net.name_heads(["edges"])
        supervise(net, layers)
    return nets


def facts(net: Net) -> list[str]:
    """The columns of a net."""
    sizes, macs = net.sizes(SIDE), net.macs(SIDE, 301)
    rules = [(r.kind, r.reads, r.computed_start, r.per_class) for r in net.layers.values()]
    rest = (net, net.outputs, net.sizes(301), sizes, macs, rules, net.parameter_shapes(stored=True))
    figures = (
        *(net.parameters(), net.receptive_field, net.stride, net.depth, len(net.layers)),
        "+".join(map(str, net.crops().values())) or "none",
        "+".join(str(sizes[layer]) for layer in net.outputs.values()),
        sum(net.macs(SIDE, SIDE).values()),
    )
    return [*map(str, figures), hashlib.sha256(repr(rest).encode()).hexdigest()[:12]]


def listing() -> str:
    rows = [["net", *COLUMNS], *([name, *facts(net)] for name, net in every_net().items())]
    return "".join("; ".join(row) + "\n" for row in rows)


def test_every_net_is_what_its_weights_were_trained_in() -> None:
    assert listing().splitlines() == FACTS.read_text("utf-8").splitlines()


# -- parameters by the sizes that the papers give -------------------------------------------------
# Of the published classifiers, and what their last layer reads.
CLASSIFIERS = {
    "alexnet": (60_965_224, 4096),
    "vgg16": (138_357_544, 4096),
    "googlenet": (6_998_552, 1024),
    "resnet18": (11_689_512, 512),
    "resnet50": (25_557_032, 2048),
    "mobilenetv2": (3_504_872, 1280),
    "efficientnetlite0": (4_652_008, 1280),
    "efficientnetlite1": (5_416_680, 1280),
    "efficientnetlite2": (6_092_072, 1280),
}
# Channels of the last layers of stride 32, 16, 8, 4 and 2: AlexNet's conv5, conv2 and conv1, VGG's
# pools, GoogLeNet's 4e, 3b and conv2, the last blocks of the others.
SKIPS = {
    "alexnet": (4096, 256, 256, 96),
    "vgg16": (4096, 512, 256, 128),
    "googlenet": (1024, 832, 480, 192),
    "resnet18": (512, 256, 128, 64),
    "resnet50": (2048, 1024, 512, 256),
    "mobilenetv2": (320, 96, 32, 24, 16),
    "efficientnetlite0": (320, 112, 40, 24, 16),
    "efficientnetlite1": (320, 112, 40, 24, 16),
    "efficientnetlite2": (352, 120, 48, 24, 16),
}


def normed(kernel: int, read: int, given: int) -> int:
    """Of a convolution without bias, and its normalisation."""
    return kernel**2 * read * given + 2 * given


def test_a_fcn_is_its_published_trunk_and_scores_of_its_skips() -> None:
    for trunk, (whole, features) in CLASSIFIERS.items():
        total = whole - 1000 * (features + 1)
        for stride, read in zip((32, 16, 8, 4), (features, *SKIPS[trunk][1:]), strict=False):
            total += 21 * (read + 1)
            assert spec(f"fcn{stride}s-{trunk}").parameters() == total, (trunk, stride)


def test_the_relatives_are_the_same_trunks_and_what_their_papers_put_on_them() -> None:
    """U-Net: two 3x3 a stride; DeepLab v3: four rates and a mean; PSPNet: four means."""
    for trunk in list(CLASSIFIERS)[3:]:
        whole, features = CLASSIFIERS[trunk]
        top, *skips = SKIPS[trunk]
        last = normed(1, top, 1280) if features == 1280 else 0  # the classifier's, not a block's
        body = whole - 1000 * (features + 1) - last
        rates = normed(1, top, 256) + 3 * normed(3, top, 256) + normed(1, top, 256)
        joined = normed(1, 5 * 256, 256) + normed(3, 256, 256) + 21 * 257
        assert spec(f"deeplabv3-{trunk}").parameters() == body + rates + joined, trunk
        means = 4 * normed(1, top, top // 4) + normed(3, top + 4 * (top // 4), 512) + 21 * 513
        assert spec(f"pspnet-{trunk}").parameters() == body + means, trunk
        widths = (top, *(256, 128, 64, 32)[: len(skips)])
        rise = sum(
            normed(3, below + skip, width) + normed(3, width, width)
            for (below, width), skip in zip(pairwise(widths), skips, strict=True)
        )
        assert spec(f"unet-{trunk}").parameters() == body + rise + 21 * (widths[-1] + 1), trunk


if __name__ == "__main__":
    FACTS.write_text(listing(), "utf-8")
