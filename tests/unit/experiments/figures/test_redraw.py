"""Figures are drawn from specs, journals and label maps; the same input is the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, picture
from pixelwise.cli.app import run
from pixelwise.errors import ResourceError, UsageError
from pixelwise.labels import colour
from pixelwise.pictures.images import read_labels, write_labels
from pixelwise.predict.model import load
from small_model import CLASSES, HEADER, photo, save_classifier, save_model

pytest.importorskip("matplotlib", reason="the extra figures is not installed")

from matplotlib.image import AxesImage
from matplotlib.text import Text

from pixelwise.experiments.figures import page, panels, redraw, sampling, skips, slabs
from pixelwise.experiments.figures.given import Given, Lacking

COLOURS = dict(zip(CLASSES, HEADER.palette, strict=True))


def cpu(path: Path):
    return load(path, device="cpu")


def words_of(figure) -> list[str]:
    return [text for t in figure.findobj(Text) if (text := t.get_text())]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two nets of other strides, a classifier, data, and three journals."""
    root = tmp_path_factory.mktemp("figures")
    canonical_set(root / "data", {"val": [picture(i) for i in range(3)]}, COLOURS)
    options = {"classes": 3, "width": 0.25}
    fine = save_model(root / "fine.safetensors", scores={"mean_iu": 0.5})
    coarse = save_model(root / "coarse.safetensors", net="fcn32s-tiny", options=options)
    classifier = save_classifier(root / "classifier.safetensors")
    for name, keep, rate in (("full", 1, 2), ("half", 0.5, 1), ("other", 1, 7)):
        write_run(root / name, keep, rate, lr=0.1 if name != "other" else 0.2)
    return SimpleNamespace(root=root, fine=fine, coarse=coarse, classifier=classifier)


def write_run(folder: Path, keep: float, rate: float, lr: float) -> None:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(f"loss: {{keep: {keep}}}\noptim: {{lr: {lr}}}\n")
    steps = [
        {"event": "step", "step": 10 * i, "seconds": 60 * i / rate, "loss": 1 / i}
        for i in range(1, 30)
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))


def given(there: SimpleNamespace, *words: object, **more) -> Given:
    from pixelwise.data.formats.layouts import open_dataset

    return Given([*map(str, words)], cpu, data=open_dataset(there.root / "data"), **more)


def test_figure_1_shows_the_picture_its_labels_and_the_truth(there: SimpleNamespace) -> None:
    source = given(there, there.fine)
    figure = slabs.prediction(source)
    assert {"forward / inference", "backward / learning"} <= {*words_of(figure)}
    net = source.models["fine"].predictor.net
    widths = [str(net.channels[n]) for n in net.layers if re.match("conv|fc|score_fr", n)]
    assert [w for w in words_of(figure) if w.isdigit()] == widths
    image, guess, truth = (np.asarray(i.get_array()) for i in figure.findobj(AxesImage))
    ((item, sample),) = source.scenes(1)
    assert np.array_equal(image, sample.image)
    assert np.array_equal(guess, source.models["fine"].predict(item.image).mask.convert("RGB"))
    assert np.array_equal(truth, colour(sample.labels, np.array(HEADER.palette, np.uint8)))


def test_figure_1_of_a_name_alone_has_the_channel_widths_of_the_paper() -> None:
    figure = slabs.prediction(Given(["fcn32s-alexnet"], cpu))
    assert [w for w in words_of(figure) if w.isdigit()] == [
        *("96", "256", "384", "384", "256", "4096", "4096", "21")
    ]
    assert figure.get_size_inches()[0] == page.COLUMN


def test_figure_2_is_what_the_classifier_says_of_window_and_picture(
    there: SimpleNamespace,
) -> None:
    image = np.asarray(Image.open(photo(there.root / "photo.png", size=(320, 352))))
    source = given(there, there.classifier, photo=image)
    figure = slabs.convolutionalised(source)
    model = source.models["classifier"]
    square = Image.fromarray(image).crop((16, 0, 336, 320))
    window = model.label(slabs._middle(image, 224), probabilities=True).probabilities[:, 0, 0]
    assert slabs._middle(np.asarray(square), 224).tobytes() == slabs._middle(image, 224).tobytes()
    assert f"“thing {window.argmax()}”\n{window.max():.2f}" in words_of(figure)
    (heat,) = [a for a in figure.findobj(AxesImage) if np.asarray(a.get_array()).ndim == 2]
    whole = model.label(image, probabilities=True).probabilities
    assert whole.shape[1:] == (4, 5)
    assert np.array_equal(heat.get_array(), whole[window.argmax()])
    other = (int(window.argmax()) + 1) % 5
    named = slabs.convolutionalised(given(there, there.classifier, photo=image, heat=f"{other}"))
    assert f"“thing {other}” heat map" in words_of(named)


def test_figure_3_says_what_is_added_and_how_often_it_is_enlarged() -> None:
    words = words_of(skips.skips(Given(["fcn8s-vgg16"], cpu)))
    assert {"2× fc7", "4× fc7", "2× pool4", "stride 32"} <= {*words}
    predictions = [w for w in words if "prediction" in w]
    assert predictions == [f"{n}× upsampled\nprediction\n(FCN-{n}s)" for n in (32, 16, 8)]
    assert words.count("+") == 3


@pytest.mark.parametrize(
    ("net", "sign", "count"),
    [("unet-tiny", "concat", 4), ("segnet-tiny", "indices", 4), ("nyud-fcn32s-color-hha", "+", 1)],
)
def test_figure_3_has_signs_for_other_ways_to_join(net: str, sign: str, count: int) -> None:
    assert words_of(skips.skips(Given([net], cpu))).count(sign) == count


def test_figure_3_of_a_chain_is_of_its_finest_net() -> None:
    words = words_of(skips.skips(Given(["fcn32s-tiny", "fcn8s-tiny", "fcn16s-tiny"], cpu)))
    assert sum("prediction" in word for word in words) == 3


def test_figure_3_names_the_heads() -> None:
    words = words_of(skips.skips(Given(["siftflow-fcn8s"], cpu)))
    assert {"8× upsampled\nprediction sem\n(FCN-8s)", "8× upsampled\nprediction geo\n(FCN-8s)"} < {
        *words
    }


def test_figure_4_goes_from_coarse_to_fine_to_the_truth(there: SimpleNamespace) -> None:
    source = given(there, there.fine, there.coarse)
    figure = panels.refinement(source)
    assert [w for w in words_of(figure) if w not in CLASSES] == [
        "FCN-32s",
        "FCN-8s\nmean IU 50.0 %",
        "ground truth",
    ]
    ((item, sample),) = source.scenes(1)
    shown = [np.asarray(a.get_array()) for a in figure.findobj(AxesImage)]
    for name, mask in zip(("coarse", "fine"), shown, strict=False):
        assert np.array_equal(mask, source.models[name].predict(item.image).mask.convert("RGB"))
    assert np.array_equal(shown[2], colour(sample.labels, np.array(HEADER.palette, np.uint8)))


def test_figure_5_compares_runs_that_differ_in_sampling_alone(there: SimpleNamespace) -> None:
    root = there.root
    figure = sampling.sampling(given(there, root / "other", root / "half", root / "full"))
    by_step, by_time = figure.axes
    assert [line.get_label() for line in by_step.lines] == ["full images", "50 % sampling"]
    assert list(by_step.lines[0].get_xdata()) == [10 * i for i in range(1, 30)]
    assert list(by_time.lines[0].get_xdata()) == [i / 2 for i in range(1, 30)]  # minutes
    assert list(by_time.lines[1].get_xdata()) == [*range(1, 30)]
    assert np.array_equal(by_time.lines[1].get_ydata(), by_step.lines[1].get_ydata())
    with pytest.raises(Lacking, match=r"loss\.keep alone, and 1 was given"):
        sampling.sampling(given(there, root / "other", root / "half"))


def test_figure_6_shows_foreign_label_maps_beside_models(there: SimpleNamespace) -> None:
    source = given(there, there.fine, f"theirs={there.root / 'data' / 'labels'}")
    figure = panels.systems(source)
    titles = [a.get_title() for a in figure.axes if a.get_title()]
    assert titles == ["FCN-8s", "theirs", "ground truth", "image"]
    shown = [np.asarray(a.get_array()) for a in figure.findobj(AxesImage)]
    assert len(shown) == 12
    assert all(np.array_equal(*shown[row + 1 : row + 3]) for row in (0, 4, 8))
    assert not np.array_equal(*shown[:2])


def test_pictures_are_those_asked_for_else_those_of_most_classes(there: SimpleNamespace) -> None:
    labels = there.root / "data" / "labels"
    names = sorted(path.stem for path in labels.iterdir())
    counts = {n: len(np.unique(read_labels(labels / f"{n}.png"))) for n in names}
    usual = [item.name for item, _ in given(there, there.fine).scenes(3)]
    assert [counts[n] for n in usual] == sorted(counts.values(), reverse=True)
    ((item, _),) = given(there, there.fine, pictures=[names[2]]).scenes(1)
    assert item.name == names[2]
    with pytest.raises(UsageError, match="nowhere is no picture of split val"):
        given(there, there.fine, pictures=["nowhere"]).scenes(1)


def test_the_same_figure_is_the_same_bytes_with_its_letters_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Given(["fcn8s-tiny"], cpu)
    first = redraw.redraw(source, tmp_path / "a", [3])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    second = redraw.redraw(source, tmp_path / "b", [3])
    for a, b in zip(first.files[3], second.files[3], strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    png, svg, pdf = first.files[3]
    with Image.open(png) as drawn:
        assert drawn.width == round(page.PAGE * page.DOTS)
    assert b"/FontFile2" in pdf.read_bytes()
    assert b"<text" not in svg.read_bytes()


def test_the_command_draws_what_it_can_and_says_what_the_rest_needs(
    there: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "out", there.root / "data"
    words = ["figures", str(there.fine), "--data", str(data), "-o", str(out), "--device", "cpu"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["figures"]) == ["1", "3", "6"]
    assert sorted(told["missing"]) == ["2", "4", "5"]
    assert all("pixelwise " in error["hint"] for error in told["missing"].values())
    assert {path.name for path in out.iterdir()} == {
        f"figure{n}.{kind}" for n in (1, 3, 6) for kind in ("png", "svg", "pdf")
    }
    assert run([*words, "--only", "5"]) == 2
    assert "loss.keep" in capsys.readouterr().err
    assert run([*words, "--only", "7"]) == 2
    assert "there is no figure 7" in capsys.readouterr().err


def test_a_model_of_other_classes_is_refused(there: SimpleNamespace, tmp_path: Path) -> None:
    options = {"classes": 2, "width": 0.25}
    other = save_model(
        tmp_path / "two.safetensors", options=options, classes=("a", "b"), palette=()
    )
    with pytest.raises(Exception, match="classes") as caught:
        panels.systems(given(there, other))
    assert caught.value.code == "M040"


def test_a_picture_that_a_folder_lacks_is_named(there: SimpleNamespace, tmp_path: Path) -> None:
    write_labels(
        tmp_path / "maps" / "x.png", np.zeros((4, 4), np.uint8), np.zeros((1, 3), np.uint8)
    )
    with pytest.raises(UsageError, match="no label map in"):
        panels.systems(given(there, tmp_path / "maps"))


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ResourceError, match="matplotlib is not installed") as caught:
        redraw.redraw(Given(["fcn8s-tiny"], cpu), tmp_path, [3])
    assert caught.value.code == "R008"
