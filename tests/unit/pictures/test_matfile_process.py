"""What kills or stalls the process that reads .mat files is told of the file that did it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from matlab_files import refusal, v5, v73
from pixelwise.errors import DataError, ResourceError
from pixelwise.pictures import matfile, matfile_process
from pixelwise.pictures.matfile import MatReader

STAND_IN = """
import json, os, signal, sys, time
print("ready", flush=True)
for line in sys.stdin:
    path = json.loads(line)["path"]
    if "segv" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    while "slow" in path:
        time.sleep(1)
    if "noise" in path:
        print("Traceback", flush=True)
    elif "half" in path:
        print('{"arrays": [["|u1", [9]]]}\\n123', end="", flush=True)
        sys.exit(3)
    elif "object" in path:
        print('{"arrays": [["|O", [1]]]}\\n12345678', flush=True)
    else:
        print('{"arrays": []}', flush=True)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader that dies, hangs or babbles, as the file's name says."""
    program = tmp_path / "program.py"
    program.write_text(STAND_IN)
    monkeypatch.setattr(matfile_process, "__file__", str(program))
    for name in ("segv", "slow", "noise", "half", "object", "good"):
        (tmp_path / f"{name}.mat").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("segv", "the process that read it died (SIGSEGV), as damaged files make it"),
        ("half", "the process that read it died (exit code 3)"),
        ("noise", "the process that read it died"),
        ("object", "the process that read it died"),
        ("slow", "not read within 1 s of processor time"),
    ],
)
def test_a_reader_that_dies_is_an_error_of_the_file_and_the_next_is_read(
    stand_in: Path, name: str, said: str
) -> None:
    with MatReader(seconds=1) as mats:
        assert mats.read(stand_in / "good.mat", "x") == ()
        assert said in refusal(mats, stand_in / f"{name}.mat", "x")
        assert mats.read(stand_in / "good.mat", "x") == ()


def test_processor_time_is_limited_for_each_file_and_not_for_all() -> None:
    source = Path(matfile_process.__file__).read_text("utf-8").rpartition("if __name__")[0]
    program = f"""{source}
import resource, time
limit_time(5)
first = resource.getrlimit(resource.RLIMIT_CPU)[0]
measured, resource.getrusage = resource.getrusage, lambda _: (700.0, 70.0)
limit_time(5)
assert (first, resource.getrlimit(resource.RLIMIT_CPU)[0]) == (6, 776)
resource.getrusage = measured
limit_memory(1 << 30)
limit_time(0)
while True: pass
"""
    ended = os.spawnv(os.P_WAIT, sys.executable, ["python", "-c", program])
    assert ended == -signal.SIGXCPU


def test_one_process_serves_many_files_and_threads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.mat" for i in range(40)]
    for i, path in enumerate(paths):
        savemat(path, {"S": np.full((2, 3), i)})
    with MatReader() as mats:
        mats.read(paths[0], "S")
        first = mats._process
        with ThreadPoolExecutor(4) as pool:
            values = [int(a[0, 0]) for (a,) in pool.map(lambda p: mats.read(p, "S"), paths)]
        assert values == list(range(40))
        assert mats._process is first
        assert first
        first.kill()
        first.wait()
        assert mats.read(paths[3], "S")[0][0, 0] == 3
        second = mats._process
    assert second
    assert second.returncode is not None


def test_ctrl_c_does_not_reach_the_reader(tmp_path: Path) -> None:
    with MatReader() as mats:
        mats.read(v5(tmp_path / "a.mat"), "kind")
        assert mats._process
        assert os.getpgid(mats._process.pid) != os.getpgid(0)


def test_the_reader_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from pixelwise.pictures.matfile import MatReader
mats = MatReader()
mats.read(Path(sys.argv[1]), "kind")
print(mats._process.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(v5(tmp_path / "a.mat"))]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout
    reader = int(user.stdout.readline())
    os.kill(reader, 0)  # it is there
    user.kill()
    user.communicate()
    end = time.monotonic() + 20
    while is_alive(reader) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(reader)


def is_alive(process: int) -> bool:
    """Neither gone nor a zombie that no one has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matfile, "find_spec", lambda name: None if name == "h5py" else object())
    with pytest.raises(
        ResourceError, match=r"scipy and h5py, which read .mat files, are"
    ) as caught:
        MatReader()
    assert caught.value.code == "R008"
    assert caught.value.hint == 'pip install "pixelwise[data]"'


def damaged_copies(content: bytes, count: int) -> Iterator[bytes]:
    """One bit, or a few, turned over behind the header."""
    rng = np.random.default_rng(0)
    for i in range(count):
        copy = bytearray(content)
        for place in 128 + rng.integers(len(content) - 128, size=1 + i % 3):
            copy[place] ^= 1 << rng.integers(8)
        yield bytes(copy)


def read_or_refused(mats: MatReader, path: Path, content: bytes, *keys: str) -> bool:
    path.write_bytes(content)
    try:
        return all(a.dtype.kind in "biufcU" for a in mats.read(path, *keys))
    except DataError as error:
        if error.code != "D026" or str(path) not in str(error):
            raise
        return False


def test_what_does_not_start_or_load_is_no_fault_of_the_file(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matfile_process, "READY", b"another\n")
    with MatReader() as mats, pytest.raises(ResourceError, match="does not start") as caught:
        mats.read(stand_in / "good.mat", "x")
    assert caught.value.code == "R008"
    monkeypatch.undo()
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("raise ImportError('libfoo.so')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with MatReader() as mats, pytest.raises(ResourceError, match=r"loaded \(libfoo.so\)"):
        mats.read(v5(tmp_path / "a.mat"), "kind")


def test_an_interrupted_answer_is_not_taken_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = v5(tmp_path / "a.mat"), json.loads

    def interrupted(text: bytes) -> object:
        monkeypatch.setattr(json, "loads", whole)
        raise KeyboardInterrupt

    with MatReader() as mats:
        mats.read(path, "kind")
        monkeypatch.setattr(json, "loads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mats.read(path, "images")
        assert mats.read(path, "kind")[0].tolist() == ["street"]


@pytest.mark.parametrize(
    ("save", "count"),
    [
        (v5, 4),
        (v73, 15),
        pytest.param(v5, 150, marks=pytest.mark.slow),
        pytest.param(v73, 300, marks=pytest.mark.slow),
    ],
)
def test_flipped_bits_are_data_or_a_refusal(
    tmp_path: Path, save: partial[Path], count: int
) -> None:
    content = save(tmp_path / "a.mat").read_bytes()
    start = time.monotonic()
    keys = "GTcls.Segmentation", "GTcls.Names", "images[1]"
    with MatReader(seconds=5) as mats:
        sound = [
            read_or_refused(mats, tmp_path / "b.mat", copy, *keys)
            for copy in damaged_copies(content, count)
        ]
        assert read_or_refused(mats, tmp_path / "b.mat", content, *keys)
    assert not all(sound)
    assert time.monotonic() - start < 10 * count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hha/meta/classMapping40.mat", "mapClass"),
        ("weights/squeezenet_v1.0/caffe_activations/56_prob.mat", "data"),
        ("hyperspectral/Indian_pines_gt.mat", "y"),
    ],
)
def test_flipped_bits_of_real_files_never_go_unnoticed(
    real_data: Path, tmp_path: Path, name: str, key: str
) -> None:
    content = (real_data / name).read_bytes()
    with MatReader(seconds=5) as mats:
        (truth,) = mats.read(real_data / name, key)
        for copy in damaged_copies(content, 60):
            if read_or_refused(mats, tmp_path / "b.mat", copy, key):  # they carry a checksum
                assert np.array_equal(mats.read(tmp_path / "b.mat", key)[0], truth)
