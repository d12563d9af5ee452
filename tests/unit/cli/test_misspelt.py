"""A command that does not exist is answered with the one that was meant, not with a similar one."""

from __future__ import annotations

import pytest

from pixelwise.cli.app import run


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trian", "`train`"),
        ("evalute", "`evaluate`"),
        ("predct", "`predict`"),
        ("data inspct", "`inspect`"),
        ("weights lst", "`list`"),
        ("scene", ""),  # not score
        ("data stat", "`stats`"),
        ("status", ""),  # neither data stats nor another
        ("test", ""),
        ("data clean", ""),
    ],
)
def test_a_command_is_only_meant_if_it_is_spelt_nearly_so(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed.split()) == 2
    told = capsys.readouterr().err
    assert f"No such command '{typed.split()[-1]}'" in told
    assert ("did you mean" in told) is bool(meant)
    assert f"did you mean {meant}?" in told or not meant
