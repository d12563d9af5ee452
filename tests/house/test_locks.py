"""What is installed is what was looked at: pinned, hashed, and within what is declared."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest
from tests.house.source import ROOT

requirements = pytest.importorskip("packaging.requirements")
canonical = pytest.importorskip("packaging.utils").canonicalize_name
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
NOT_OF_USERS = {"all", "docs"}  # themselves, and what only those need who build the pages
LOCKS = (
    "requirements",
    *(
        f"requirements-{n}"
        for n in ("bench", "docs", "lowest", "mutation", "release", "serve", "trust")
    ),
)


def declared() -> list[requirements.Requirement]:
    """Everything of pyproject.toml, extras that name extras left out."""
    dev = PROJECT["dependency-groups"]["dev"]
    texts = (*PROJECT["project"]["dependencies"], *chain(*EXTRAS.values()), *dev)
    return [r for text in texts if (r := requirements.Requirement(text)).name != "pixelwise"]


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Package to its version and hashes."""
    text = (ROOT / f"{name}.lock").read_text("utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    pins = [(words[0].partition("=="), words[1:]) for words in lines]
    return {canonical(name): (version, rest) for (name, _, version), rest in pins}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_but_torch_has_its_hashes(lock: str) -> None:
    pins = locked(lock)
    assert pins
    assert "torch" not in pins
    form = re.compile(r"--hash=sha256:[0-9a-f]{64}")
    unhashed = [
        name
        for name, (version, hashes) in pins.items()
        if not (version and hashes and all(map(form.fullmatch, hashes)))
    ]
    assert not unhashed, "run `make lock`"


def test_torch_is_pinned_apart() -> None:
    assert list(locked("requirements-torch")) == ["torch"]


def test_all_that_is_declared_is_locked_within_its_range() -> None:
    pins = locked("requirements") | locked("requirements-torch")
    left_out = {"tensorboard"}  # no everyday test has them
    of_docs = {requirements.Requirement(text).name for text in EXTRAS.get("docs", ())}
    for wanted in declared():
        name = canonical(wanted.name)
        if name in pins:
            assert wanted.specifier.contains(pins[name][0]), wanted
        else:
            assert name in left_out | of_docs, f"{name}: pin it, then `make lock`"


def test_the_lowest_versions_are_those_that_are_declared() -> None:
    pins = locked("requirements-lowest")
    for wanted in declared():
        (low,) = [s.version for s in wanted.specifier if s.operator in (">=", "==")] or ["0"]
        if wanted.name == "torch" or low == "0":
            continue
        # 2025.1 stands for 2025.1.10, the first that there is.
        version = pins[canonical(wanted.name)][0]
        parts = low.split(".")
        assert version.split(".")[: len(parts)] == parts, f"{wanted}: {version}"


def test_the_extra_all_is_every_other_one_of_users() -> None:
    (text,) = EXTRAS["all"]
    assert requirements.Requirement(text).extras == set(EXTRAS) - NOT_OF_USERS
