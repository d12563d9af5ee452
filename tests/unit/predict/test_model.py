from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.data.preprocess import CAFFE, Preprocess
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import DataError, ModelError, ResourceError, UsageError
from pixelwise.nets.net import Net
from pixelwise.pictures import reading
from pixelwise.predict.model import Model, load
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.view import View
from pixelwise.settings import as_dict
from pixelwise.weights.checkpoint import save_checkpoint
from random_weights import save_random
from small_model import CLASSES, HEADER, photo, pixels, save_classifier, save_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_model(tmp_path / "net.safetensors")


@pytest.fixture
def model(path: Path) -> Model:
    return load(path)


def test_five_lines(path: Path, tmp_path: Path) -> None:
    source = photo(tmp_path / "photo.jpg")
    model = pw.load(path)
    result = model.predict(str(source))
    result.overlay.save(tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.height >= 40
        assert overlay.width > 56  # the legend stands beside the picture
    assert result.labels.shape == (40, 56)
    assert result.labels.dtype == np.uint8
    assert sum(result.areas().values()) == pytest.approx(1)
    palette = np.array(HEADER.palette, np.uint8)
    assert np.array_equal(np.asarray(result.mask), result.labels)
    assert np.array_equal(np.asarray(result.mask.convert("RGB")), palette[result.labels])
    assert np.array_equal(result.image, reading.read(source))


def test_the_label_is_the_largest_score_of_the_plain_net(model: Model) -> None:
    image = pixels()
    net = model.predictor.runner.network
    x = torch.from_numpy((image.transpose(2, 0, 1).astype(np.float32) - 128) / 64)[None]
    with torch.inference_mode():
        scores = net(x)[0]
    found = model.predict(image, probabilities=True)
    assert np.array_equal(found.labels, scores.argmax(0).numpy())
    assert found.probabilities is not None
    assert found.probabilities == pytest.approx(scores.softmax(0).numpy(), abs=1e-5)
    assert len(np.unique(found.labels)) > 1  # or the test could not tell


def test_pictures_of_every_kind_are_the_same_picture(model: Model, tmp_path: Path) -> None:
    image = pixels()
    expected = model.predict(image).labels
    Image.fromarray(image).save(tmp_path / "a.png")
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    fortran = np.asfortranarray(image)
    fortran.flags.writeable = False
    for picture in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(image),
        Image.fromarray(opaque),
        opaque,
        fortran,
        torch.from_numpy(image),
    ):
        assert np.array_equal(model.predict(picture).labels, expected)


def test_grey_arrays_are_repeated_and_alpha_lies_on_white(model: Model) -> None:
    grey = pixels()[..., 0]
    expected = model.predict(np.repeat(grey[..., None], 3, axis=2)).labels
    for picture in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(model.predict(picture).labels, expected)
    image = np.dstack([pixels(), pixels(seed=3)[..., 0]])
    assert np.array_equal(
        model.predict(image).image[image[..., 3] == 255], image[image[..., 3] == 255][:, :3]
    )
    assert (model.predict(np.zeros((9, 9, 4), np.uint8)).image == 255).all()
    half = np.zeros((1, 1, 4), np.uint8)
    half[..., 3] = 51  # a fifth of black on white
    assert model.predict(half).image.tolist() == [[[204, 204, 204]]]


@pytest.mark.parametrize(
    ("picture", "code", "text"),
    [
        (np.zeros((4, 4, 3), np.float32), "D015", r"array of float32, expected uint8"),
        (np.zeros((4, 4), bool), "D015", "array of bool"),
        (np.zeros((4, 4, 3), np.uint16), "D015", "array of uint16"),
        (np.zeros((3, 4, 5), np.uint8), "D018", r"\(3, 4, 5\), expected \(H, W, C\)"),
        (np.zeros((4, 4, 2), np.uint8), "D018", r"\(4, 4, 2\), the net takes \(H, W, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "D018", "not empty"),
        (np.zeros((1, 3, 4, 4), np.uint8), "D018", r"\(1, 3, 4, 4\)"),
        (np.zeros(4, np.uint8), "D018", r"\(4,\)"),
        (None, "D015", "array of object"),
        (Image.new("RGB", (0, 0)), "D018", "not empty"),
        (torch.zeros((0, 4, 3), dtype=torch.uint8), "D018", "not empty"),
        ("no/such.png", "D010", "no/such.png"),
    ],
)
def test_other_things_are_refused_in_words(
    model: Model, picture: object, code: str, text: str
) -> None:
    with pytest.raises(DataError, match=text) as caught:
        model.predict(picture)
    assert caught.value.code == code


def test_the_hint_for_floats_can_be_pasted(model: Model) -> None:
    a = pixels() / 255
    with pytest.raises(DataError) as caught:
        model.predict(a)
    expression = caught.value.hint.partition(": ")[2]
    assert np.array_equal(eval(expression, {"np": np, "a": a}), pixels())


def test_a_net_of_five_bands_takes_pictures_of_five_and_shows_three(tmp_path: Path) -> None:
    net = Net()
    net.top = net.score("score", net.data(5), 3)
    network = Network(net)
    with torch.no_grad():
        network.get_parameter("score.weight")[2, 4] = 1  # the fifth band alone decides
        network.get_parameter("score.bias")[1] = 0.5
    plain = Preprocess("rgb", 1 / 255, (0.0,) * 5, (1.0,) * 5)
    model = Model(Predictor(TorchRunner(network), plain), HEADER, tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 5), np.uint8)
    found = model.predict(image)
    assert np.array_equal(found.labels, np.where(image[..., 4] > 127, 2, 1))
    assert np.array_equal(found.image, image)
    shown = replace(found, image=image[..., :3]).overlay_array()
    assert np.array_equal(found.overlay_array(), shown)
    with pytest.raises(DataError, match=r"\(6, 9, 3\), the net takes \(H, W, 5\)"):
        model.predict(image[..., :3])


def test_each_head_of_a_net_has_its_prediction(tmp_path: Path) -> None:
    net = Net()
    x = net.data(3)
    net.heads = {"rooms": net.score("rooms", x, 3), "edges": net.score("edges", x, 2)}
    network = Network(net)
    with torch.no_grad():
        network.get_parameter("rooms.bias")[1] = 1
        network.get_parameter("edges.weight")[1, 0] = 1
        network.get_parameter("edges.bias")[0] = 0.5
    plain = Preprocess("rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3)
    model = Model(Predictor(TorchRunner(network), plain), HEADER, tmp_path)
    found = model.predict(pixels(), probabilities=True)
    assert found.areas() == {CLASSES[1]: 1.0}  # the first head's, whose classes the header names
    assert list(found.heads) == ["rooms", "edges"]
    assert found.heads["rooms"].areas() == found.areas()
    edges = found.heads["edges"]
    assert np.array_equal(edges.labels, pixels()[..., 0] > 127)
    assert edges.classes == ("class 0", "class 1")
    assert edges.probabilities is not None
    assert edges.probabilities.shape == (2, 40, 56)
    with pytest.raises(UsageError, match="several heads: rooms, edges"):
        model.predictor.labels(pixels())


def test_saved_and_loaded_it_is_the_same_model(model: Model, tmp_path: Path) -> None:
    shown = model.shown(zoom=(1.2, 1.8), mirror=True)
    again = load(shown.save(tmp_path / "again.safetensors"))
    assert again.predictor.view == View((1.2, 1.8), True)
    assert (again.classes, again.palette, again.task) == (CLASSES, HEADER.palette, "segmentation")
    assert np.array_equal(again.predict(pixels()).labels, shown.predict(pixels()).labels)


def test_a_net_that_was_never_trained_is_said_to_be_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(save_model(tmp_path / "trained.safetensors"))
    assert not caplog.text
    net = build("fcn8s-tiny", classes=3, width=0.25)
    load(save_checkpoint(tmp_path / "new.safetensors", net.state_dict(), HEADER))
    assert "new.safetensors: the score layers are zero" in caplog.text


def test_a_view_that_is_asked_for_wins(path: Path) -> None:
    assert load(path, view=View((2.0,))).predictor.view == View((2.0,))
    assert load(path).predictor.view == View()
    shown = load(path).shown(mirror=True).shown(zoom=2)
    assert shown.predictor.view == View((2.0,), True)
    assert shown.shown(mirror=False, zoom=[0.5, 1]).predictor.view == View((0.5, 1))
    for zoom in (0, -1, 9, float("nan")):
        with pytest.raises(UsageError, match=r"zooms\[0\] is .*, expected"):
            load(path).shown(zoom=zoom)


def test_a_run_folder_stands_for_its_best_weights(path: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "run/weights/last.safetensors", seed=1)
    assert load(tmp_path / "run").path.name == "last.safetensors"
    save_model(tmp_path / "run/weights/best.safetensors", seed=2)
    assert load(tmp_path / "run").path.name == "best.safetensors"
    with pytest.raises(ModelError, match="is not a run folder") as caught:
        load(tmp_path)
    assert caught.value.code == "M001"


def test_an_unknown_precision_is_told(path: Path) -> None:
    assert load(path, precision="bf16").predictor.runner.precision == "bf16"
    with pytest.raises(UsageError, match="no precision is called `bf-16`; did you mean `bf16`"):
        load(path, precision="bf-16")


def test_classes_without_colours_get_some(tmp_path: Path) -> None:
    model = load(save_classifier(tmp_path / "c.safetensors"))
    assert model.task == "classification"
    assert len(set(model.palette)) == 5


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"net": "fcn8s-vgg99"}, "M040", "no net is called `fcn8s-vgg99`"),
        ({"net": ""}, "M040", "loose blobs"),
        ({"options": {"classes": "many"}}, "M040", "classes is 'many'"),
        ({"options": {"classes": 3, "width": "wide"}}, "M040", "describes no net"),
        ({"options": {"classes": 3, "depth": 4}}, "M040", "no option depth"),
        ({"inference": {"zooms": [1e9]}}, "M040", "zoom"),
        ({"inference": {"zooms": "x"}}, "M040", "describes no view"),
        ({"inference": {"tilt": 1}}, "M040", "tilt"),
        ({"inference": {"zooms": [10**400]}}, "M040", "describes no view"),
        ({"preprocess": {}}, "M002", r"a\.safetensors: preprocess\.order is missing"),
        (
            {"preprocess": {**as_dict(CAFFE), "scale": 10**400}},
            "M002",
            r"preprocess\.scale is 10+\.\.\.,",
        ),
        (
            {"preprocess": {**as_dict(CAFFE), "scale": float("nan")}},
            "M002",
            "scale is nan, expected",
        ),
        ({"classes": ("one",)}, "M002", "1 class names for 3 classes"),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    tmp_path: Path, changes: dict[str, object], code: str, text: str
) -> None:
    net = build(HEADER.net, **HEADER.options)
    path = save_checkpoint(tmp_path / "a.safetensors", net.state_dict(), replace(HEADER, **changes))
    with pytest.raises(ModelError, match=text) as caught:
        load(path)
    assert caught.value.code == code


def test_means_of_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    preprocess = {"order": "rgb", "scale": 1.0, "mean": [0.0], "std": [1.0]}
    path = save_model(tmp_path / "a.safetensors", preprocess=preprocess)
    with pytest.raises(ModelError, match="1 channel means for 3 channels"):
        load(path)


def test_weights_that_are_not_finite_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as careless:  # as a tool that does not look would write it
        careless.setattr("pixelwise.weights.safetensors_file.check_finite", lambda *a: None)
        careless.setattr(torch.nn.init, "normal_", lambda p: p.data.fill_(torch.nan))
        path = save_model(tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match=r"score") as caught:
        load(path)
    assert caught.value.code == "M020"


def test_unknown_and_missing_devices_are_told_apart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no device is called `tpu`"):
        load(path, device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="no CUDA device") as caught:
        load(path, device="cuda")
    assert caught.value.code == "R009"
    assert load(path, device="auto").predictor.runner.device == torch.device("cpu")


@pytest.mark.parametrize("statement", ["import pixelwise", "import pixelwise.__main__"])
def test_importing_takes_neither_torch_nor_numpy(statement: str) -> None:
    heavy = ("torch", "numpy", "numba", "PIL")
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other() -> None:
    for name in pw.__all__:
        assert getattr(pw, name) is not None
    assert set(pw.__all__) <= set(dir(pw))
    with pytest.raises(AttributeError, match="no attribute 'forward'"):
        pw.forward  # noqa: B018


def test_a_model_in_low_memory_gives_the_same_labels(tmp_path: Path) -> None:
    save_random(tmp_path / "net.safetensors", "fcn8s-vgg16", classes=5, width=1 / 16)
    image = pixels((37, 52))
    fast, low = (load(tmp_path / "net.safetensors", memory=memory) for memory in ("fast", "low"))
    assert low.predictor.runner.memory == "low"
    assert np.array_equal(low.predict(image).labels, fast.predict(image).labels)
    with pytest.raises(UsageError, match="no memory is called `small`"):
        load(tmp_path / "net.safetensors", memory="small")


def test_a_model_whose_file_is_written_over_says_so_and_one_in_training_changes_no_file(
    path: Path, tmp_path: Path
) -> None:
    model, before = load(path), path.read_bytes()
    with torch.no_grad():
        model.predictor.runner.network.get_parameter("score_fr.bias").fill_(3)
    model.predict(pixels())
    assert path.read_bytes() == before
    model.save(tmp_path / "other.safetensors")
    saved = load(tmp_path / "other.safetensors").predictor.runner.network
    assert saved.get_parameter("score_fr.bias").eq(3).all()
    path.write_bytes(before + b" ")
    for used in (lambda: model.predict(pixels()), lambda: model.save(tmp_path / "third")):
        with pytest.raises(ModelError, match="written over while its model was in use"):
            used()
