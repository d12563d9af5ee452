"""The estimator beside scikit-learn's own tools and checks."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks as checks

from pixelwise.adapters.estimator import FCNSegmenter
from pixelwise.errors import DataError

SMALL = {"width": 0.25, "augment.mirror": False}


def scenes(count: int = 8, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Discs of another colour on grey; the first rows are void."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((size, size))
    images = np.full((count, size, size, 3), 90, np.uint8)
    labels = np.zeros((count, size, size), np.int64)
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(8, size - 8, 2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 64
        image[disc], label[disc] = (200, 40, 60), 1
        label[:2] = 255
    noise = rng.integers(0, 20, images.shape, np.uint8)
    return images + noise, labels


@pytest.fixture(scope="module")
def fitted() -> FCNSegmenter:
    return FCNSegmenter(iterations=60, batch=8, settings=SMALL).fit(*scenes())


def test_it_learns_discs(fitted: FCNSegmenter) -> None:
    images, labels = scenes()
    assert fitted.score(images, labels) > 0.7
    assert fitted.predict(images).shape == labels.shape
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.n_features_in_ == 3


def test_probabilities_have_the_classes_last_and_sum_to_one(fitted: FCNSegmenter) -> None:
    chances = fitted.predict_proba(scenes(2)[0])
    assert chances.shape == (2, 32, 32, 2)
    assert np.allclose(chances.sum(-1), 1, atol=1e-5)
    assert (chances.argmax(-1) == fitted.predict(scenes(2)[0])).all()


def test_it_goes_through_a_pickle(fitted: FCNSegmenter) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    images, _ = scenes(3)
    assert (again.predict(images) == fitted.predict(images)).all()
    assert again.get_params() == fitted.get_params()


def test_pictures_may_differ_in_size_and_bands() -> None:
    images, labels = scenes(4)
    mixed = [images[0], images[1][:, :24], images[2][:28], images[3]]
    maps = [labels[0], labels[1][:, :24], labels[2][:28], labels[3]]
    options = {"iterations": 2, "settings": SMALL, "crop": (24, 24)}
    assert [m.shape for m in FCNSegmenter(**options).fit(mixed, maps).predict(mixed)] == [
        m.shape for m in maps
    ]


def test_cross_validation_and_grids_take_it() -> None:
    images, labels = scenes()
    small = FCNSegmenter(iterations=2, settings=SMALL)
    assert len(cross_val_score(small, images, labels, cv=2)) == 2
    search = GridSearchCV(small, {"learning_rate": [1e-3, 4e-3]}, cv=2).fit(images, labels)
    assert search.best_estimator_.predict(images).shape == labels.shape


def test_the_same_seed_gives_the_same_labels() -> None:
    images, labels = scenes()
    options = {"iterations": 5, "settings": SMALL, "random_state": 3}
    one, two = (FCNSegmenter(**options).fit(images, labels).predict_proba(images) for _ in "ab")
    assert (one == two).all()


def test_what_does_not_fit_is_refused() -> None:
    images, labels = scenes(4)
    small = FCNSegmenter(iterations=1, settings=SMALL)
    for x, y, code in (
        (images, labels[:3], "D031"),
        (images, labels[:, :30], "D013"),
        (images, labels - (labels == 1) * 5, "D012"),
    ):
        with pytest.raises(DataError) as caught:
            small.fit(x, y)
        assert caught.value.code == code
    with pytest.raises(NotFittedError):
        small.predict(images)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_no_attributes_set_in_init,
        checks.check_estimator_repr,
        checks.check_estimator_cloneable,
        checks.check_valid_tag_types,
    ],
)
def test_the_checks_of_scikit_learn_that_need_no_table(check) -> None:
    check("FCNSegmenter", clone(FCNSegmenter()))
