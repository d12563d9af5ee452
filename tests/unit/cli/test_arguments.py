"""What several commands are given is read and refused alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.cli.app import run
from small_model import photo, save_model


@pytest.mark.parametrize("threads", ["-1", "1025", "100000"])  # the last one was the end of torch
@pytest.mark.parametrize(
    "command",
    ["predict {model} {photo} -o {out}", "evaluate {model} {data}", "train {data} -o {out}"],
)
def test_a_number_of_threads_that_no_machine_has_is_refused(
    command: str, threads: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = photo(tmp_path / "data/images/a.png")
    model, out = save_model(tmp_path / "net.safetensors"), tmp_path / "out"
    words = command.format(model=model, photo=source, data=tmp_path / "data", out=out).split()
    assert run([*words, "--threads", threads]) == 2
    bound = "at least 0" if threads == "-1" else "at most 1024"
    assert f"threads is {threads}, expected {bound}" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("zoom", "message"),
    [
        ("1,abc", "zooms[1] is 'abc', expected a number"),
        ("0", "zooms[0] is 0, expected more than 0"),
        (",", "no zooms, expected at least one"),
    ],
)
def test_zooms_are_numbers_with_commas(
    zoom: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, source = save_model(tmp_path / "net.safetensors"), photo(tmp_path / "a.png")
    command = ["predict", str(model), str(source), "-o", str(tmp_path / "out"), "--zoom"]
    assert run([*command, zoom]) == 2
    refusal = capsys.readouterr().err
    assert message in refusal
    assert "hint: --zoom 2, or several: --zoom 1.25,1.75" in refusal
    assert run([*command, "0.5,1"]) == 0
