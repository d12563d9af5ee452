"""How far long work is, on a terminal and in a log, by a clock that the tests turn."""

from __future__ import annotations

import io
import re
import sys

import pytest

from pixelwise.machine.progress import clock_time, megabytes, number, percent, progress

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Clock:
    """Seconds that pass when they are added."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """What takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def steps(total: int | None, seconds: float, *, done: int | None = None, **options: bool) -> None:
    """Steps that take so many seconds each."""
    clock = Clock()
    with progress("evaluating val", total, clock=clock, **options) as advance:
        for _ in range(done or total or 0):
            clock.now += seconds
            advance()


def test_a_log_gets_a_line_every_half_minute_and_the_end(capsys) -> None:
    steps(1000, 0.125)  # two minutes and five seconds
    assert said(capsys) == [
        "evaluating val: 240 of 1,000, 1:35 left",
        "evaluating val: 480 of 1,000, 1:05 left",
        "evaluating val: 720 of 1,000, 0:35 left",
        "evaluating val: 960 of 1,000, 0:05 left",
        "evaluating val: 1,000 of 1,000, in 2:05",
    ]


def test_short_work_says_nothing_in_a_log(capsys) -> None:
    steps(29, 1.0)
    assert said(capsys) == []


def test_steps_longer_than_half_a_minute_are_each_told(capsys) -> None:
    steps(3, 100.0)
    assert said(capsys) == [
        "evaluating val: 1 of 3, 3:20 left",
        "evaluating val: 2 of 3, 1:40 left",
        "evaluating val: 3 of 3, in 5:00",
    ]


def test_where_nobody_knows_how_much_there_is_no_time_is_promised(capsys) -> None:
    steps(None, 10.0, done=4)
    assert said(capsys) == ["evaluating val: 3", "evaluating val: 4"]


def test_what_was_skipped_at_once_does_not_promise_an_early_end(capsys) -> None:
    """900 pictures are there already; the other 100 take a second each."""
    clock = Clock()
    with progress("predicting", 1000, clock=clock) as advance:
        for _ in range(900):
            advance()
        for _ in range(60):
            clock.now += 1
            advance()
    assert said(capsys)[-1] == "predicting: 960 of 1,000, 0:40 left"


def test_work_that_fails_does_not_say_that_it_ended(capsys) -> None:
    clock = Clock()

    def work() -> None:
        with progress("reading", 10, clock=clock) as advance:
            for _ in range(5):
                clock.now += 20
                advance()
            raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        work()
    assert said(capsys) == ["reading: 2 of 10, 2:40 left", "reading: 4 of 10, 2:00 left"]


def test_quiet_work_says_nothing(capsys) -> None:
    clock = Clock()
    with progress("scoring", 10, clock=clock, quiet=True) as bar:
        clock.now += 100
        bar()
        bar.say("half of it is done")
    assert said(capsys) == []


def test_bytes_and_shares_are_told_as_such(capsys) -> None:
    clock = Clock()
    with progress("fetching a.pth", amount=megabytes, clock=clock) as bar:
        clock.now += 40
        bar.reach(5_000_000, 20_000_000)
    with progress("training", 1.0, amount=percent, clock=clock) as bar:
        clock.now += 40
        bar.reach(0.25, text="step 1/4", left=119.6)
    assert said(capsys) == [
        "fetching a.pth: 5.0 of 20.0 MB, 2:00 left",
        "training: 25 %, step 1/4, 2:00 left",
    ]
    assert (number(1234, None), megabytes(1e6, 0), percent(1, None)) == ("1,234", "1.0 MB", "")


def test_the_time_of_other_work_begins_anew(capsys) -> None:
    clock = Clock()
    with progress("making scenes", 1.0, amount=percent, clock=clock) as bar:
        clock.now += 300
        for part in range(1, 6):
            clock.now += 10
            bar.reach(part / 10, doing="reading the data")
    assert said(capsys) == [
        "reading the data: 10 %",
        "reading the data: 40 %, 1:00 left",
        "reading the data: 50 %, 0:50 left",
    ]


def test_hours_are_told_from_the_first_one_on() -> None:
    told = [clock_time(s) for s in (-1, 0, 59.6, 3599, 3600, 36061)]
    assert told == ["0:00", "0:00", "1:00", "59:59", "1:00:00", "10:01:01"]


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_gets_a_bar_and_what_is_said_above_it(
    monkeypatch: pytest.MonkeyPatch, no_colour: bool
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    with progress("evaluating [val]", 4) as advance:
        for _ in range(4):
            advance(text="a.png")
        advance.say("mind [this]")
        print("mind that", file=sys.stderr)
    shown = screen.getvalue()
    assert ("\x1b[38;5" in shown) is not no_colour
    plain = ESCAPES.sub("", shown)
    assert "mind [this]" in plain
    assert "mind that" in plain
    assert re.search(r"evaluating \[val\] \S+ 4 of 4, a\.png, in 0:00\s*$", plain)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)
    steps(4, 20.0)
    assert screen.getvalue().splitlines() == [
        "evaluating val: 2 of 4, 0:40 left",
        "evaluating val: 4 of 4, in 1:20",
    ]


def test_names_cannot_write_to_the_terminal(capsys) -> None:
    clock = Clock()
    with progress("fetching \x1b[2J", 2, clock=clock) as bar:
        clock.now += 40
        bar(text="a\x1b[2J.png")
    assert said(capsys) == ["fetching \\x1b[2J: 1 of 2, a\\x1b[2J.png, 0:40 left"]
