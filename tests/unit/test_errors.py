from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from pixelwise import errors
from pixelwise.errors import (
    CODES,
    DataError,
    PixelwiseError,
    Stopped,
    first_few,
    unknown_name,
    visible,
)

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pixelwise"
CLASSES = {
    "U": errors.UsageError,
    "D": errors.DataError,
    "M": errors.ModelError,
    "R": errors.ResourceError,
    "N": errors.NumericalError,
    "B": errors.PixelwiseError,
}


def test_a_name_written_out_suggests_the_short_one() -> None:
    known = ["optim.lr", "optim.rates", "ema"]
    error = unknown_name("recipe setting", "optim.learning_rate", known)
    assert "did you mean `optim.lr`?" in str(error)
    assert "did you mean" not in str(unknown_name("recipe setting", "quite_other", known))


@pytest.mark.parametrize(
    "error",
    [
        DataError(
            "D035", "two", "see both", [DataError("D010", "one"), DataError("D020", "other")]
        ),
        Stopped(15, "stopped", "run it again"),
        errors.UsageError("U002", "what", "a hint"),
    ],
)
def test_an_error_comes_through_to_another_process_as_it_is(error: PixelwiseError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.as_dict()) == (str(error), error.as_dict())
    assert (again.exit_code, again.__notes__) == (error.exit_code, error.__notes__)
    assert [str(p) for p in getattr(again, "problems", ())] == [
        str(p) for p in getattr(error, "problems", ())
    ]


def used_codes() -> set[str]:
    """Codes that stand in the source as a literal, outside the registry itself."""
    text = "\n".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    return set(re.findall(r'"([UDMRNBS]\d{3})"(?!:)', text))


def documented() -> dict[str, str]:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    parts = re.split(r"^### ([A-Z]\d{3}): ", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_a_setting_is_found_by_its_last_part() -> None:
    error = unknown_name("recipe setting", "lr", ("optim.lr", "loss.reduction", "crop"))
    assert "did you mean `optim.lr`?" in str(error)


def test_every_code_is_raised_somewhere_and_every_raised_code_is_registered() -> None:
    assert used_codes() == set(CODES)


def test_the_page_explains_every_code_in_order_and_nothing_else() -> None:
    assert list(documented()) == list(CODES)


@pytest.mark.parametrize("code", CODES)
def test_each_entry_has_meaning_exit_code_example_and_advice(code: str) -> None:
    entry = documented()[code]
    assert entry.splitlines()[0] == CODES[code]
    status = "130 or 143" if code == "S001" else str(CLASSES[code[0]].exit_code)
    assert f"Exit code {status}." in entry
    word = "stopped:" if code == "S001" else f"error {code}: "
    example = re.search(r"```text\n(.*?)```", entry, re.DOTALL)
    assert example is not None
    assert example[1].startswith(word)
    assert "What to do: " in entry


def test_classes_are_what_python_code_expects_to_catch() -> None:
    for kind in (errors.UsageError, errors.DataError, errors.ModelError):
        assert issubclass(kind, ValueError)
    assert issubclass(errors.ResourceError, RuntimeError)
    assert issubclass(errors.NumericalError, ArithmeticError)
    assert {kind.exit_code for kind in CLASSES.values()} == set(range(2, 8))
    assert [Stopped(n, "").exit_code for n in (2, 15)] == [130, 143]


def test_an_unregistered_code_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="Z999"):
        PixelwiseError("Z999", "what")


def test_as_plain_data() -> None:
    found = DataError("D012", "a.png: 7", "look", problems=[DataError("D013", "b.png")])
    assert found.as_dict() == {"code": "D012", "error": "a.png: 7", "hint": "look"}
    assert [p.code for p in found.problems] == ["D013"]


def test_similar_names_come_first_and_long_lists_are_cut() -> None:
    close = unknown_name("net", "fcn8-tiny", ["fcn8s-tiny", "unet"])
    assert str(close) == "no net is called `fcn8-tiny`; did you mean `fcn8s-tiny`?"
    assert close.hint == "known: fcn8s-tiny, unet"
    many = unknown_name("class", "q", [f"a long class name {i:04}" for i in range(1000)])
    assert len(many.hint) < 700
    assert many.hint.startswith("known: a long class name 0000, ")
    shown = many.hint.count("a long class name")
    assert many.hint.endswith(f", and {1000 - shown} more")


def test_the_first_few_say_how_many_are_left() -> None:
    assert first_few([]) == ""
    assert first_few(list("abcde")) == "a, b, c, d, e"
    assert first_few(list("abcdefg")) == "a, b, c, d, e, and 2 more"
    assert first_few(["a", "b", "c"], 1, "; ") == "a; and 2 more"


def test_what_cannot_be_shown_is_made_visible() -> None:
    assert visible("plain \u00e9 \u4e2d") == "plain \u00e9 \u4e2d"
    assert visible("a\x00b\u202ec\udcff\n\t") == "a\\x00b\\u202ec\\udcff\\n\\t"
    assert visible("a\nb\tc", keep="\n") == "a\nb\\tc"


def test_a_setting_in_one_word_is_told_how_it_is_nested() -> None:
    error = unknown_name("recipe setting", "optim.lr", ["net", "optim.lr"])
    assert "expected `optim: {lr: ...}`" in str(error)
