"""A machine that fails: full and locked disks, no home, no network, files that cannot be read.

Real mounts and real system calls, in a namespace of their own; where the machine allows none of
them, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from killing import label_maps, pictures

from small_model import photo, save_model

PIXELWISE = f"{shlex.quote(sys.executable)} -m pixelwise"


def allowed(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


mounts = pytest.mark.skipif(
    not allowed("unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"),
    reason="mounting is not allowed here",
)
traced = pytest.mark.skipif(not allowed("strace", "-V"), reason="strace is not installed")


def shell(script: str, *before: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    pictures(tmp_path / "data" / "images", 6)
    label_maps(tmp_path / "data" / "labels", 6)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "net.safetensors")


def training(data: Path, run: Path, *settings: str) -> str:
    given = ["net=fcn8s-tiny", "width=0.25", "batch=2", "crop=32x32", "save_every=1", *settings]
    words = " ".join(f"--set {shlex.quote(s)}" for s in given)
    return f"{PIXELWISE} train {shlex.quote(str(data))} -o {run} --iterations 4 {words} --threads 1"


# -- the disk -------------------------------------------------------------------------------------
@pytest.mark.slow
@mounts
def test_a_disk_that_fills_up_ends_training_which_then_goes_on(data: Path, tmp_path: Path) -> None:
    """Room for one state and not for two; then there is more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run = shell(training(data, tmp_path / "whole"))
    assert run.returncode == 0, run.stderr
    state = max(p.stat().st_size for p in (tmp_path / "whole" / "state").iterdir())
    told = shell(
        f"mount -t tmpfs -o size={state * 5 // 4} none {disk} && {training(data, disk / 'run')};"
        f'echo "rc $?"; ls {disk}/run/state; mount -o remount,size=64m {disk} && '
        f'{training(data, disk / "run")} --resume; echo "rc $?"; '
        f"cp -r {disk}/run {tmp_path}/resumed",
        *("unshare", "-m"),
    )
    assert re.findall(r"rc (\d+)", told.stdout) == ["5", "0"], told.stderr
    assert "error R001: " in told.stderr
    assert "Traceback" not in told.stderr
    assert weights(tmp_path / "resumed") == weights(tmp_path / "whole")


def weights(run: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    tensors = load_file(run / "weights" / "last.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@mounts
def test_a_read_only_disk_is_told_before_work_begins(
    data: Path, model: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    commands = [
        training(data, locked / "run"),
        f"{PIXELWISE} predict {model} {data}/images -o {locked}/out",
        f"{PIXELWISE} data convert {data} {locked}/converted",
    ]
    each = "; ".join(f'{command}; echo "rc $?"' for command in commands)
    told = shell(
        f"mount --bind {locked} {locked} && mount -o remount,ro,bind {locked}; {each}",
        *("unshare", "-m"),
    )
    assert re.findall(r"rc (\d+)", told.stdout) == ["5", "5", "5"], told.stderr
    assert told.stderr.count("error R002: ") == 3, told.stderr
    assert not list(locked.iterdir())


@pytest.mark.skipif(not allowed("setpriv", "--reuid=65534", "true"), reason="needs root")
def test_a_folder_of_somebody_else_is_told(model: Path, tmp_path: Path) -> None:
    """As nobody: root may write anywhere, so a mode proves nothing."""
    photo(tmp_path / "in.png")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "others").mkdir(mode=0o755)
    told = shell(
        f"{PIXELWISE} predict {model} {tmp_path}/in.png -o {tmp_path}/others/out",
        *("setpriv", "--reuid=65534", "--clear-groups"),
    )
    if "Permission" in told.stderr and "python" in told.stderr.splitlines()[0]:
        pytest.skip("nobody may not run this Python")
    assert told.returncode == 5, told.stderr
    assert "error R002: " in told.stderr


@pytest.mark.slow
@mounts
def test_64_kilobytes_of_shared_memory_suffice(data: Path, tmp_path: Path) -> None:
    """Containers have little; samples are read by threads, which need none."""
    told = shell(
        f"mount -t tmpfs -o size=64k none /dev/shm && "
        f"{training(data, tmp_path / 'run', 'workers=2')}",
        *("unshare", "-m"),
    )
    assert told.returncode == 0, told.stderr


# -- files that cannot be read --------------------------------------------------------------------
@traced
def test_a_picture_that_the_disk_gives_up_on_is_one_failure(model: Path, tmp_path: Path) -> None:
    """EIO in the middle of a file; the others are labelled."""
    pictures(tmp_path / "in", 3)
    bad = tmp_path / "in" / "1.png"
    told = shell(
        f"strace -f -o /dev/null -P {bad} -e trace=read,pread64 "
        f"-e inject=read,pread64:error=EIO:when=2+ "
        f"{PIXELWISE} predict {model} {tmp_path}/in -o {tmp_path}/out"
    )
    assert told.returncode == 1, told.stderr
    failures = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["path"]).name for line in failures] == ["1.png"]
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {"0.png", "2.png"}


@pytest.mark.slow
@traced
def test_files_are_on_the_disk_before_they_have_their_names(data: Path, tmp_path: Path) -> None:
    """Power may fail at any moment: content, then name, then folder (as strace sees it)."""
    run, log = tmp_path / "run", tmp_path / "log"
    calls = "openat,fsync,fdatasync,rename,renameat,renameat2,close"
    told = shell(f"strace -f -y -o {log} -e trace={calls} {training(data, run)}")
    assert told.returncode == 0, told.stderr
    synced, pending, renamed = set[str](), set[str](), 0
    for line in log.read_text(errors="replace").splitlines():
        if found := re.search(r"f(?:data)?sync\(\d+<([^>]+)>", line):
            synced.add(found[1])
            pending.discard(found[1])
        elif found := re.search(r'rename(?:at2?)?\(.*?"([^"]+)".*"([^"]+)"', line):
            old, new = found.groups()
            if str(run) in new:
                assert old in synced, f"{new} had its name before its content"
                pending.add(str(Path(new).parent))
                renamed += 1
    assert renamed >= 6  # recipe, states, weights, report
    assert not pending, "a folder that holds a new name was not synced"


# -- the surroundings -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("surroundings", "before"),
    [
        ("env -i", ()),
        pytest.param("env -i LANG=C LC_ALL=C TERM=dumb", (), marks=pytest.mark.slow),
        pytest.param("env HOME=/nowhere TMPDIR=/nowhere", (), marks=pytest.mark.slow),
        pytest.param("env OMP_NUM_THREADS=0", (), marks=pytest.mark.slow),
        pytest.param(
            *("", ("unshare", "-rn")),
            marks=pytest.mark.skipif(not allowed("unshare", "-rn", "true"), reason="no namespaces"),
        ),
    ],
    ids=["no environment", "plain ascii", "no home", "no threads", "no network"],
)
def test_surroundings_do_not_matter(
    model: Path, tmp_path: Path, surroundings: str, before: tuple[str, ...]
) -> None:
    photo(tmp_path / "in" / "tür.png")
    source = f"PYTHONPATH={shlex.quote(os.environ.get('PYTHONPATH', ''))}"
    words = f"{surroundings} {source}" if surroundings else f"env {source}"
    told = shell(f"{words} {PIXELWISE} predict {model} {tmp_path}/in -o {tmp_path}/out", *before)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "out" / "tür.png").exists()
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    "flags",
    ["-O", *(pytest.param(f, marks=pytest.mark.slow) for f in ("-OO", "-X dev", "-W error"))],
)
def test_nothing_rests_on_assertions_or_passes_with_warnings(
    model: Path, tmp_path: Path, flags: str
) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("<html>not found</html>")
    told = shell(
        f"{shlex.quote(sys.executable)} {flags} -m pixelwise predict {model} {tmp_path}/in "
        f"-o {tmp_path}/out"
    )
    assert told.returncode == 1, told.stderr
    assert (tmp_path / "out" / "a.png").exists()
    assert not (tmp_path / "out" / "b.png").exists()


def test_states_are_told_apart_by_their_step_and_not_by_the_clock(tmp_path: Path) -> None:
    from pixelwise.training.state import generations

    for step in (3, 4):
        path = tmp_path / "state" / f"step-{step:09}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.utime(path, (0, 0))
    assert generations(tmp_path)[-1] == path


@pytest.mark.slow
def test_the_same_command_never_waits_for_a_second_trainer(data: Path, tmp_path: Path) -> None:
    """The second is refused with the process that holds the folder, which goes on."""
    run = tmp_path / "run"
    first = subprocess.Popen(
        shlex.split(training(data, run).replace("--iterations 4", "--iterations 4000")),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        while not (run / "state").exists() and first.poll() is None:
            pass
        second = shell(training(data, run) + " --resume")
        assert second.returncode == 5, second.stderr
        assert f"process {first.pid} " in second.stderr
        assert first.poll() is None
    finally:
        first.terminate()
        first.communicate()
    shutil.rmtree(run)
