from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from pixelwise.errors import ResourceError, UsageError
from pixelwise.scale.cluster import connected, sized

TWO = [{"CPU": 8.0, "memory": 1e9}, {"CPU": 5.0}]
MIXED = [{"CPU": 0.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}]


@pytest.mark.parametrize(
    ("nodes", "device", "threads", "expected"),
    [
        (TWO, "auto", 0, (3, 4, "cpu")),  # 8 // 4 + 5 // 4
        (TWO, "cpu", 1, (13, 1, "cpu")),
        (TWO, "cpu", 5, (2, 5, "cpu")),
        ([{"CPU": 2.0}, {"CPU": 8.0}], "auto", 0, (5, 2, "cpu")),  # as the smallest has them
        ([{"CPU": 0.0}, {"CPU": 8.0}], "auto", 0, (2, 4, "cpu")),  # a head that does not work
        (MIXED, "auto", 0, (2, 1, "cuda")),
        (MIXED, "cuda", 12, (1, 12, "cuda")),
        (MIXED, "cpu", 0, (20, 4, "cpu")),
    ],
)
def test_workers_by_hand(
    nodes: list[dict[str, float]], device: str, threads: int, expected: tuple[int, int, str]
) -> None:
    assert sized(nodes, device, threads) == expected


@pytest.mark.parametrize(
    ("nodes", "device", "threads", "hint"),
    [(TWO, "cpu", 9, "--threads 1"), (TWO, "cuda", 0, "--device cpu"), ([], "auto", 0, "--device")],
)
def test_no_room_for_a_worker_is_told(
    nodes: list[dict[str, float]], device: str, threads: int, hint: str
) -> None:
    with pytest.raises(ResourceError, match="no machine of the Ray cluster") as raised:
        sized(nodes, device, threads)
    assert raised.value.code == "R009"
    assert raised.value.hint.startswith(hint)


def test_without_ray_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ResourceError) as raised, connected("auto", 0):
        pass
    assert (raised.value.code, raised.value.hint) == ("R008", 'pip install "pixelwise[ray]"')


@pytest.mark.parametrize(("device", "threads", "code"), [("gpu", 0, "U001"), ("cpu", -1, "U002")])
def test_what_is_no_device_or_number_is_refused_before_ray_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, threads: int, code: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as raised, connected(device, threads):
        pass
    assert raised.value.code == code


def test_what_ray_prints_is_not_among_our_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"Resources": {"CPU": 2.0}, "Alive": True}]
    talking = SimpleNamespace(
        init=lambda *_, **__: None,
        nodes=lambda: print("(raylet) A worker died") or nodes,
        shutdown=lambda: print("(raylet) Raylet is terminated"),
    )
    monkeypatch.setitem(sys.modules, "ray", talking)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with connected("cpu", 1) as cluster:
        assert cluster.workers == 2
    assert capsys.readouterr().out == ""
