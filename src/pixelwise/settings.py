"""What files and people tell the program, read by types: the one door for such data.

A kind of it (a recipe, a checkpoint's header, ``classes.json``) is a frozen dataclass under
``@settings`` whose fields carry their ranges. Pydantic checks it, whether ``read`` makes it from
plain data or Python does; what is wrong is said in the product's words, all of it at once.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import BeforeValidator as BeforeValidator
from pydantic import GetPydanticSchema, Strict, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from pixelwise.errors import (
    DataError,
    ModelError,
    PixelwiseError,
    UsageError,
    first_few,
    unknown_name,
)

T = TypeVar("T")
ERRORS: Mapping[str, type[PixelwiseError]] = {"U": UsageError, "D": DataError, "M": ModelError}
SHOWN, CLAUSES = 80, 12  # letters of a wrong value, and problems, that a reader still takes in


@dataclass_transform(frozen_default=True)
def settings(
    prefix: str = "",
    *,
    code: str = "U002",
    noun: str = "setting",
    hint: str = "",
    others: Literal["forbid", "ignore"] = "forbid",
) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass whose values are brought to their types, or refused.

    The docstring under a field describes it in ``schema``. ``__post_init__`` says with ``refuse``
    which fields contradict each other.

    Args:
        prefix: of its fields' names in messages, e.g. ``optim.``.
        code: of its errors; an unknown name is U001 where this is U002.
        noun: what one entry is called.
        hint: of its errors.
        others: what is done with unknown names.
    """
    config = pydantic.ConfigDict(extra=others, allow_inf_nan=False, use_attribute_docstrings=True)

    def made(plain: type[T]) -> type[T]:
        kind: Any = checked_dataclass(frozen=True, config=config)(plain)
        names = [f.name for f in fields(kind)]
        fill = kind.__init__

        @functools.wraps(fill)
        def checked_init(self: Any, *args: Any, **given: Any) -> None:
            given |= dict(zip(names[: len(args)], args, strict=True))
            try:
                fill(self, **given)
            except pydantic.ValidationError as error:
                raise _refusal(kind, given, error) from None

        kind.__init__ = checked_init
        kind.__about__ = prefix, code, noun, hint
        return cast("type[T]", kind)

    return made


def completed(complete: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """In the body of a kind: what is given is completed by what follows from it, then checked.

    ``complete`` gets entries as they were given, of any type, and may raise ``Contradiction``.
    """

    def complete_given(given: Any) -> Any:
        if isinstance(given, Mapping):  # from ``read``
            return complete(dict(given))
        if hasattr(given, "kwargs"):  # from the constructor: pydantic's args and kwargs
            return type(given)(given.args, complete(dict(given.kwargs or {})))
        return given

    return pydantic.model_validator(mode="before")(complete_given)


class Contradiction(ValueError):
    """Values that are right by themselves and not together; a clause in each argument."""

    def __str__(self) -> str:
        return "; ".join(self.args)


def refuse(*clauses: str | bool) -> None:
    """Raise what a ``__post_init__`` says as a ``Contradiction``; what is empty is no problem."""
    if any(clauses):
        raise Contradiction(*filter(None, clauses))


def read(kind: type[T], data: object, *, place: object = "") -> T:
    """Plain data, as YAML and JSON hold it, as settings of a kind.

    Raises:
        PixelwiseError: of the kind's code, with a clause for each problem, after ``place``.
    """
    try:
        return TypeAdapter(kind).validate_python(data)
    except pydantic.ValidationError as error:
        raise _refusal(kind, data, error, place) from None


def as_dict(value: object) -> dict[str, Any]:
    """Settings as plain nested data; ``read`` gives them back equal."""
    return cast("dict[str, Any]", TypeAdapter(type(value)).dump_python(value, mode="json"))


def schema(kind: Any) -> dict[str, Any]:
    """JSON schema of a kind: types, ranges, defaults, descriptions."""
    return TypeAdapter(kind).json_schema()


def known_names(kind: Any, prefix: str = "") -> Iterator[str]:
    """Every entry of a kind by its full name, e.g. ``optim.lr``."""
    for field in fields(kind):
        if is_dataclass(field.default):
            yield from known_names(field.default, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def decoded(content: bytes) -> str:
    """UTF-8 text, with or without the mark that Windows puts before it.

    Raises:
        ValueError: it is none.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from error


def parse_json(content: bytes | str) -> Any:
    """Plain data in JSON, whose objects name no key twice (the last one would win).

    Raises:
        ValueError: it is none, in words that need no knowledge of Python.
    """

    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(unique) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"`{twice}` stands there twice")
        return unique

    try:
        text = content if isinstance(content, str) else decoded(content)
        return json.loads(text, object_pairs_hook=each_once)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON ({error.msg}, {where})") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error


# -- types: what YAML, --set and Python may give for a field --------------------------------------
def limits(**ends: float) -> Any:
    """For ``Annotated``: the range of a number (ge, gt, le, lt), or of a length (max_length).

    They are put into the innermost schema, where the JSON schema shows them, and not around what
    brings text to numbers.
    """

    def put(source: Any, handler: Any) -> Any:
        schema = inner = handler(source)
        while "schema" in inner:
            inner = inner["schema"]
        inner.update(ends)
        return schema

    return GetPydanticSchema(put)


def _number(expected: str) -> BeforeValidator:
    """A whole number may be 1e4 as well; true is 1 to Python, and never meant so."""

    def read_number(value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(expected)
        with suppress(ValueError):
            return float(value) if isinstance(value, str) and "e" in value.lower() else value
        return value

    return BeforeValidator(read_number)


def _text(value: object) -> object:
    """Text, a path, or a number that YAML took for one; nothing is empty text."""
    if isinstance(value, bool | bytes) or "\0" in str(value):  # no file name holds a zero byte
        raise ValueError("text")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return "" if value is None else str(value) if isinstance(value, int | float) else value


def _numbers(value: object) -> object:
    """320x400 or 0.5,2 as a list; none, where nothing may be given."""
    if not isinstance(value, str):
        return [value] if isinstance(value, int | float) else value
    if value.lower() in ("none", "null"):
        return None
    parts = value.strip("()[]").replace("x", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


def _plain(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value):
        return value
    raise Contradiction(f"{value!r} is no plain name")


def _words(value: object) -> object:
    """labels,geometry as a list; none or nothing as an empty one."""
    if value is None or (isinstance(value, str) and value.lower() in ("", "none", "null")):
        return ()
    return [p.strip() for p in value.strip("()[]").split(",")] if isinstance(value, str) else value


Number = Annotated[float, _number("a number")]
Whole = Annotated[int, _number("a whole number")]
Text = Annotated[str, BeforeValidator(_text)]
in_one_word = BeforeValidator(_numbers)
"""In ``Annotated``: several numbers may also be one word, as 320x400 or 0.5,2."""
names_in_one_word = BeforeValidator(_words)
"""In ``Annotated``: several names may also be one word, as labels,geometry."""
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Plain = Annotated[str, BeforeValidator(_plain)]
"""A name that can stand for a folder: of an input or a head, or of the folder itself."""
Exact = Annotated[int, Strict()]
"""A whole number in a file that a program wrote: neither text, nor true, nor 1.0."""
Natural = Annotated[Exact, limits(ge=0)]
Byte = Annotated[Exact, limits(ge=0, le=255)]
Count = Annotated[Whole, limits(ge=0, le=10**9)]
"""Of iterations and the like; the end catches numbers that were meant for another setting."""
Share = Annotated[Number, limits(ge=0, le=1)]


# -- messages -------------------------------------------------------------------------------------
EXPECTED = {
    "greater_than": "more than {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "int_parsing_size": "a smaller number",
    "bool": "true or false",
    "string": "text",
    "literal_error": "one of {expected}",
    "tuple": "a list",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "mapping": "a value for each name",
    "dict": "a value for each name",
    "dataclass": "named entries",
}
"""Pydantic's types of errors, or how they begin, to what was expected."""

BRANCH = re.compile(r"[a-z-]+\[.+\]")
"""Pydantic's name for one of several types that a field may have; no entry is called so."""


def _refusal(
    kind: Any, data: object, error: pydantic.ValidationError, place: object = ""
) -> PixelwiseError:
    """All that is wrong with plain data, as one error."""
    prefix, own, noun, hint = kind.__about__
    problems = error.errors(include_url=False)
    unknown = [p["loc"] for p in problems if p["type"] == "unexpected_keyword_argument"]
    known = [prefix + name for name in known_names(kind)]
    misses = [unknown_name(noun, prefix + _name(loc), known) for loc in unknown]
    clauses = [str(miss) for miss in misses]
    clauses += [c for p in problems if p["loc"] not in unknown for c in _clauses(prefix, p)]
    clauses += _contradictions(kind, data, {str(p["loc"][0]) for p in problems if p["loc"]})
    code = "U001" if len(misses) == len(clauses) and own == "U002" else own
    start = f"{place}: " if place else ""
    text = start + first_few(clauses, CLAUSES, "; ")
    return ERRORS[code[0]](code, text, misses[0].hint if misses else hint)


def _clauses(prefix: str, problem: Any) -> tuple[str, ...]:
    """What one of pydantic's findings says in our words."""
    kind, facts, name = problem["type"], problem.get("ctx", {}), prefix + _name(problem["loc"])
    reason = facts.get("error")
    if isinstance(reason, Contradiction):
        return reason.args
    if kind == "missing" and isinstance(problem["loc"][-1], int):  # a pair that is none
        pair, count = prefix + _name(problem["loc"][:-1]), problem["loc"][-1] + 1
        given = ",".join(map(str, problem["input"])) or "empty"
        return (f"{pair} is {given}, expected {count} numbers, as 320x400 or 0.5,2",)
    if kind == "missing":
        return (f"{name} is missing",)
    words = str(facts.get("expected", "")).replace("'", "").replace(" or ", ", ")
    known = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0], "another value")
    wanted = str(reason) if reason else known.format(**{**facts, "expected": words})
    value = _shown(problem["input"], bare=not kind.endswith("_type"))
    if problem["loc"][-1:] == ("[key]",):
        return (f"{prefix}{_name(problem['loc'][:-2])} has the key {value}, expected {wanted}",)
    return (f"{name or 'all of it'} is {value}, expected {wanted}",)


def _shown(value: object, *, bare: bool) -> str:
    """A value as it was given; a number that --set has as text without quotation marks."""
    text = repr(value)
    if bare and isinstance(value, str):
        with suppress(ValueError):
            float(value)
            text = value
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _contradictions(kind: Any, data: object, failed: set[str]) -> list[str]:
    """Contradictions among the values that are right by themselves, the others left out.

    What names one of those others would be a guess.
    """
    if not failed or not isinstance(data, Mapping):
        return []
    try:
        TypeAdapter(kind).validate_python({k: v for k, v in data.items() if k not in failed})
    except pydantic.ValidationError as error:
        said = [c for p in error.errors() if not p["loc"] for c in _clauses("", p)]
        return [c for c in said if not failed & set(c.replace(".", " ").replace("=", " ").split())]
    return []


def _name(loc: tuple[int | str, ...]) -> str:
    """``("optim", "rates", "a")`` as ``optim.rates.a``, ``("crop", 0)`` as ``crop[0]``."""
    named = [part for part in loc if not (isinstance(part, str) and BRANCH.fullmatch(part))]
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in named]
    return "".join(parts).removeprefix(".")
