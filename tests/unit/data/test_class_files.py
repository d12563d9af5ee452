"""Class files say exactly what is meant, or are refused with the file and what is wrong."""

import json
from pathlib import Path

import pytest

from pixelwise.data.class_files import described
from pixelwise.errors import DataError
from pixelwise.labels import VOID


def written(root: Path, value: object, name: str = "classes.json") -> Path:
    text = value if isinstance(value, str) else json.dumps(value)
    (root / name).write_text(text, encoding="utf-8")
    return root


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        described(root)
    assert caught.value.code == "D034"
    assert caught.value.hint.startswith("expected ")
    text = str(caught.value)
    assert text.startswith(str(root / "classes."))
    assert "Error" not in text  # no names of Python's exceptions
    return text.partition(": ")[2]


def test_values_may_share_a_class_and_void_is_255_unless_named(tmp_path: Path) -> None:
    told = {"classes": {"0": "road", "7": "sky", "8": "road"}, "ignore": [9, "10"]}
    found = described(written(tmp_path, told))
    assert found is not None
    assert found.classes == ("road", "sky")
    assert found.values == {0: 0, 7: 1, 8: 0, 9: VOID, 10: VOID, 255: VOID}
    cell = described(written(tmp_path, {"classes": {"0": "membrane", "255": "cell"}}))
    assert cell is not None
    assert cell.values == {0: 0, 255: 1}


def test_a_list_numbers_its_names(tmp_path: Path) -> None:
    found = described(written(tmp_path, {"classes": ["a", "b"], "ignore": [11]}))
    assert found is not None
    assert found.values == {0: 0, 1: 1, 11: VOID, 255: VOID}


@pytest.mark.parametrize("text", ["128,0,0", "(128, 0, 0)", "#800000"])
def test_colours_in_three_forms(tmp_path: Path, text: str) -> None:
    found = described(written(tmp_path, {"colours": {text: "roof", "0,0,0": "ground"}}))
    assert found is not None
    assert found.colours == {(128, 0, 0): 0, (0, 0, 0): 1}
    assert found.palette == ((128, 0, 0), (0, 0, 0))


def test_a_class_of_several_colours_is_drawn_in_the_first(tmp_path: Path) -> None:
    told = {"colours": {"1,1,1": "car", "2,2,2": "sky", "3,3,3": "car"}, "ignore": ["#040404"]}
    found = described(written(tmp_path, told))
    assert found is not None
    assert found.palette == ((1, 1, 1), (2, 2, 2))
    assert found.colours == {(1, 1, 1): 0, (2, 2, 2): 1, (3, 3, 3): 0, (4, 4, 4): VOID}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "not JSON"),
        ("[]", "all of it is [], expected named entries"),
        ("[" * 100_000, "nested too deep"),
        ({}, "classes is missing"),
        ({"classes": 3}, "classes is 3, expected a value for each name"),
        ({"classes": []}, "classes is {}, expected at least 1"),
        ({"classes": ["a", None]}, "classes[1] is None, expected text"),
        ({"classes": ["a", " "]}, "classes[1] is ' ', expected text"),
        ({"classes": ["a", "a"]}, "class `a` stands there twice"),
        ({"classes": {"x": "a"}}, "classes has the key 'x', expected a whole number"),
        ({"classes": {"-1": "a"}}, "classes has the key '-1', expected a whole number"),
        ({"classes": {"0": 5}}, "classes[0] is 5, expected text"),
        ({"classes": {"0": "a", "00": "b"}}, "`00` stands there twice"),
        ({"classes": ["a", " a"]}, "class `a` stands there twice"),
        ({"classes": {"70000": "a"}}, "classes has the key 70000, expected at most 65535"),
        ({"classes": ["a"], "ignore": [-1]}, "ignore[0] is -1, expected at least 0"),
        ({"classes": ["a"], "ignore": [1.5]}, "ignore[0] is 1.5, expected a whole number"),
        ({"classes": ["a"], "ignore": [True]}, "ignore[0] is True, expected a whole number"),
        ({"classes": ["a"], "ignore": 255}, "ignore is 255, expected a list"),
        ({"classes": ["a", "b"], "ignore": [1]}, "1 is both `b` and ignored"),
        ({"classes": ["a", "b"], "ignore": [1, 0]}, "1 is both `b` and ignored; 0 is both `a` and"),
        ('{"classes": {"0": "a", "0": "b"}}', "`0` stands there twice"),
        ({"classes": {str(i): f"c{i}" for i in range(300)}}, "300 classes, expected 1 to 255"),
        ({"colours": {f"0,{i // 200},{i % 200}": f"c{i}" for i in range(256)}}, "256 classes"),
        ({"colours": {}}, "colours is {}, expected at least 1"),
        ({"classes": ["a", 3], "ignore": [-1]}, "classes[1] is 3, expected text; ignore[0] is -1"),
        ({"colours": {"1,2": "a"}}, "'1,2' is no colour"),
        ({"colours": {"1,2,256": "a"}}, "'1,2,256' is no colour"),
        ({"colours": {"#12345g": "a"}}, "'#12345g' is no colour"),
        ({"colours": {"1,2,3": "a", "#010203": "b"}}, "`#010203` stands there twice"),
        ({"colours": {"1,2,3": "a"}, "ignore": ["1,2,3"]}, "both `a` and ignored"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, value: object, said: str) -> None:
    assert said in refused(written(tmp_path, value))


def test_class_lists_one_a_line(tmp_path: Path) -> None:
    found = described(written(tmp_path, "\ufeff__ignore__\n sky \n\nroad\n", "classes.txt"))
    assert found is not None
    assert found.classes == ("sky", "road")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no class names"), (b"sky\nsky\n", "twice"), (b"\xff\xfe", "not UTF-8 text (byte 0)")],
)
def test_bad_class_lists(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    assert said in refused(tmp_path)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").mkdir()
    assert "cannot be read" in refused(tmp_path)


def test_without_files_nothing_is_said(tmp_path: Path) -> None:
    assert described(tmp_path) is None
