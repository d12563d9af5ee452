from __future__ import annotations

import threading
import time

import pytest

from pixelwise.machine.overlap import overlapped


def test_all_stages_are_called_once_for_each_item_and_results_come_in_order() -> None:
    def late(number: int) -> int:
        time.sleep(0.01 * (number % 2))
        return number + 1

    made = overlapped(range(7), late, lambda n: 10 * n, lambda n: (late(n), n))
    assert list(made) == [(10 * n + 1, 10 * n) for n in range(1, 8)]
    assert list(overlapped([], late, late, late)) == []


def test_the_next_is_read_and_the_one_before_written_while_one_is_worked_on() -> None:
    read = [threading.Event() for _ in range(3)]
    worked = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        assert number == 2 or read[number + 1].wait(10), "the next is not read"
        worked[number].set()
        return number

    def write(number: int) -> int:
        assert number == 2 or worked[number + 1].wait(10), "writing holds up the work"
        return number

    assert list(overlapped(range(3), lambda n: read[n].set() or n, work, write)) == [0, 1, 2]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_an_error_comes_at_its_items_turn_after_what_is_being_written(stage: int) -> None:
    written: list[int] = []

    def failing(own: int) -> object:
        def call(number: int) -> int:
            if own == stage and number == 2:
                raise ValueError(number)
            if own == 2:
                time.sleep(0.01)
                written.append(number)
            return number

        return call

    made = overlapped(range(9), *map(failing, range(3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2"):
        list(made)
    assert written[:2] == [0, 1]


def test_what_was_begun_is_written_when_nobody_wants_more() -> None:
    written: list[int] = []
    made = overlapped(range(9), int, int, lambda n: written.append(n) or n)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert written == [0, 1]
