"""Locks: whoever waits goes on when the holder is done, dead, or silent for too long, and a sleeper does no harm."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time

import pytest
from filelock._soft import OwnerRecord, encode_marker

from tests.test_runs import data
from vaelib.errors import VaelibError
from vaelib.runs import Store, lock
from vaelib.runs.lock import Lock

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.test_lock"])


def elsewhere():
    """Return the lock of a process of another machine."""
    holder = OwnerRecord(1, "some-host", "lease", "0123456789abcdef", lock.SILENT)
    return encode_marker(holder)


@pytest.fixture
def impatient(monkeypatch):
    """Wait a second, not a minute, for a silent holder."""
    monkeypatch.setattr(lock, "LOOK", 0.05)
    monkeypatch.setattr(lock, "SILENT", 1.0)
    monkeypatch.setattr(lock, "BEAT", 0.2)


def hold(root, started):
    """Make the artifact, told when to end; exit status 3 says that another had taken it over."""
    lock.SILENT, lock.BEAT = 1.0, 0.2  # as for the impatient
    with contextlib.suppress(BrokenPipeError):
        try:
            with Store(root).making(data()) as folder:
                (folder / "a.bin").write_bytes(b"first")
                started.set()
                while not (root / "wake").exists():
                    time.sleep(0.02)
        except VaelibError as error:
            os._exit(3 if "took the work over" in str(error) else 4)


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds the lock of ``data()`` until there is a file ``wake``."""
    started = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.join()


def made(store):
    return (store.folder(data()) / "a.bin").read_bytes()


def test_a_killed_holders_lock_is_taken_at_once(tmp_path, holder, capsys):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    before = time.monotonic()
    with Store(tmp_path).making(data()) as folder:
        assert time.monotonic() - before < 5  # a silent one would be given a minute
        assert (folder / "a.bin").read_bytes() == b"first"  # what it left is there to go on from
    assert capsys.readouterr().out == ""
    assert made(Store(tmp_path)) == b"first"
    assert [path.name for path in (tmp_path / "data").iterdir()] == [data().key]


def test_a_living_holder_elsewhere_is_waited_for(tmp_path, impatient, capsys):
    path, released = tmp_path / "x.lock", threading.Event()
    path.write_bytes(elsewhere())

    def live():
        for _ in range(60):
            os.utime(path)
            time.sleep(0.05)
        released.set()
        path.unlink()

    thread = threading.Thread(target=live)
    thread.start()
    with Lock(path, "vae x"):
        assert released.is_set()
    thread.join()
    assert capsys.readouterr().out == "vae x is being made by process 1 on some-host; waiting for it\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("years", [-30, 0, 30])
def test_a_silent_holder_elsewhere_is_given_up_whatever_its_clock_says(tmp_path, impatient, years):
    path, touched = tmp_path / "x.lock", time.time() + years * 3e7
    path.write_bytes(elsewhere())
    os.utime(path, (touched, touched))
    before = time.monotonic()
    with Lock(path) as mine:
        assert time.monotonic() - before > 0.9
        assert mine.owned()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wakes", ["while the other works", "when the other is done"])
def test_a_sleeper_that_lost_its_lock_publishes_nothing(tmp_path, impatient, holder, wakes):
    os.kill(holder.pid, signal.SIGSTOP)
    store, early = Store(tmp_path), wakes == "while the other works"
    (tmp_path / "wake").touch()
    with store.making(data()) as folder:
        (folder / "a.bin").write_bytes(b"second")
        if early:
            os.kill(holder.pid, signal.SIGCONT)
            holder.join(30)
    if not early:
        os.kill(holder.pid, signal.SIGCONT)
        holder.join(30)
    assert holder.exitcode == 3
    assert made(store) == b"second"
    assert store.complaints(data()) == []


def test_a_holder_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    path = tmp_path / "x.lock"
    with Lock(path):
        first = path.stat().st_mtime_ns
        deadline = time.monotonic() + 20
        while path.stat().st_mtime_ns == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
