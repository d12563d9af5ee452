"""How far long work is: a bar on a terminal, elsewhere a line every half minute.

All of it goes to stderr, through whatever stands there: a text that is said while a bar is shown
appears above it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

from rich.console import Console

from pixelwise.errors import visible

EVERY_SECONDS = 30.0
"""Between plain lines: often enough to see life, and no more than 120 in an hour's log."""
RECENT_SECONDS = 30.0
"""Speed is that of so long, as rich's is: what is skipped as made already says nothing of it."""

Amount = Callable[[float, float | None], str]
"""How much is done, of how much (None: nobody knows), in words."""


def number(done: float, total: float | None) -> str:
    """Things that are counted: 120 of 3,000."""
    return f"{done:,.0f} of {total:,.0f}" if total else f"{done:,.0f}"


def megabytes(done: float, total: float | None) -> str:
    """Of bytes: 12.3 of 20.0 MB."""
    return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"


def percent(done: float, total: float | None) -> str:
    """A share: 25 %."""
    return f"{100 * done / total:.0f} %" if total else ""


def clock_time(seconds: float) -> str:
    """Minutes and seconds, before them hours if there are any: 2:10, 1:02:10."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """One piece of long work; it is called after each of its steps."""

    def __init__(
        self,
        doing: str,
        total: float | None,
        *,
        amount: Amount = number,
        show: Callable[[Progress], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.doing, self.total, self.done, self.text = doing, total, 0.0, ""
        self.say = say
        """Says a text above the bar, or on a line of its own."""
        self._amount, self._show, self._clock = amount, show, clock
        self._began = clock()
        self._marks = deque([(self._began, 0.0)])  # when how much was done, of late
        self._left: float | None = None
        self._lock = RLock()  # pictures are read by two threads

    def __call__(self, steps: float = 1, text: str = "") -> None:
        """So many steps more are done."""
        with self._lock:
            self.reach(self.done + steps, text=text)

    def reach(
        self,
        done: float,
        total: float | None = None,
        *,
        doing: str = "",
        text: str = "",
        left: float | None = None,
    ) -> None:
        """So much is done altogether.

        Args:
            done: of ``total``.
            total: where it was not known before, or is another.
            doing: where something else is done now, whose time begins with this.
            text: what else can be said.
            left: seconds; None: as the speed of the last half minute has it.
        """
        now = self._clock()
        if doing and doing != self.doing:
            self.doing, self._began, self._marks = doing, now, deque([(now, done)])
        self.total = total or self.total
        self.done, self.text = done, text
        if now - self._marks[-1][0] >= 1:
            self._marks.append((now, done))
        while len(self._marks) > 1 and now - self._marks[1][0] >= RECENT_SECONDS:
            self._marks.popleft()
        self._left = self._remaining(now) if left is None else left
        self._show(self)

    def _remaining(self, now: float) -> float | None:
        then, before = self._marks[0]
        if not self.total or self.done <= before:
            return None
        return (self.total - self.done) * (now - then) / (self.done - before)

    @property
    def facts(self) -> str:
        """How much is done, what else is said, and the time left, or taken once all is done."""
        time_left = "" if self._left is None else f"{clock_time(self._left)} left"
        if self.total and self.done >= self.total:
            time_left = f"in {clock_time(self._clock() - self._began)}"
        parts = (self._amount(self.done, self.total), self.text, time_left)
        return visible(", ".join(part for part in parts if part))


@contextmanager
def progress(
    doing: str,
    total: float | None = None,
    *,
    amount: Amount = number,
    quiet: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Tell on stderr how far a piece of work is, for the length of the block.

    Args:
        doing: what is done, as "evaluating val".
        total: steps in all; None (or 0): nobody knows.
        amount: how a number of steps is told.
        quiet: tell nothing, as under ``--json``.
        clock: gives seconds.
    """
    if quiet:
        yield Progress(doing, total)
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(visible(text, keep="\n"), markup=False, emoji=False)

    # NO_COLOR is obeyed by rich. A terminal that rich only takes for one (FORCE_COLOR) is a log.
    alive = console.is_interactive and console.file.isatty()
    with _bar(console, doing) if alive else _lines(say, clock) as show:
        yield Progress(doing, total, amount=amount, show=show, say=say, clock=clock)


@contextmanager
def _bar(console: Console, doing: str) -> Iterator[Callable[[Progress], None]]:
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    facts = TextColumn("{task.fields[facts]}", markup=False)
    with Bars(TextColumn("{task.description}"), BarColumn(), facts, console=console) as bars:
        task = bars.add_task(escape(visible(doing)), total=None, facts="")

        def show(work: Progress) -> None:
            bars.update(
                task,
                description=escape(visible(work.doing)),
                completed=work.done,
                total=work.total or None,
                facts=work.facts,
            )

        yield show


@contextmanager
def _lines(
    say: Callable[[str], None], clock: Callable[[], float]
) -> Iterator[Callable[[Progress], None]]:
    """Short work says nothing; long work also says its end."""
    began = said = clock()
    unsaid: Progress | None = None

    def show(work: Progress) -> None:
        nonlocal said, unsaid
        unsaid = work
        if clock() - said >= EVERY_SECONDS:
            say(f"{work.doing}: {work.facts}")
            said, unsaid = clock(), None

    yield show
    if unsaid is not None and said > began:
        say(f"{unsaid.doing}: {unsaid.facts}")
