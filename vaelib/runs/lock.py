"""One maker at a time, also on a file system that several hosts share, where ``flock`` may end at a host's own walls.

A lock is a file that one process alone can create; it names its holder, who touches it every few seconds. Whoever waits
looks again and again. On the holder's own machine the kernel tells at once if the holder died (its ``flock`` is gone);
from elsewhere it counts as dead after ``LOOKS`` looks in a row without a touch. Looks are counted and no two clocks are
compared, so neither a wrong clock nor a pause of the one who waits can take a lock from the living. A holder that was only
paused finds out by :meth:`Lock.check`, before it publishes anything.
"""

import contextlib
import fcntl
import os
import platform
import secrets
import threading
import time
from pathlib import Path

from ..errors import VaelibError

BEAT, LOOK, LOOKS = 5.0, 0.25, 240  # seconds between touches, seconds between looks; a minute of looks


def _machine() -> str:
    """Return what tells this running kernel from all others; ``flock`` holds among its processes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _read(path: Path) -> tuple[str, int]:
    """Return a lock's text and time of its last touch; opened anew, for then a network file system asks its server."""
    with open(path, encoding="utf-8") as file:
        return file.read(), os.fstat(file.fileno()).st_mtime_ns


class Lock:
    """Hold ``path`` as a lock within a ``with`` block; wait for whoever has it, or take it from the dead."""

    def __init__(self, path: Path, what: str = ""):
        """``what`` names the thing being made for the line that is printed when it has to be waited for."""
        self.path, self.what = path, what
        self.text = f"{_machine()} {platform.node()} {os.getpid()} {secrets.token_hex(8)}\n"
        self.own = path.with_name(f".{path.name}.{self.text.split()[-1]}")
        self.released = threading.Event()

    def __enter__(self) -> "Lock":
        self.handle = os.open(self.own, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        try:
            self._flock(self.handle)
            os.write(self.handle, self.text.encode())
            os.fsync(self.handle)  # other hosts see it
            self._wait()
        except BaseException:
            os.close(self.handle)
            raise
        finally:
            self.own.unlink(missing_ok=True)
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.thread.join()
        if self.owned():
            self.path.unlink(missing_ok=True)
        os.close(self.handle)

    def owned(self) -> bool:
        """Return True as long as nobody took the lock away."""
        try:
            return _read(self.path)[0] == self.text
        except OSError:
            return False

    def check(self) -> None:
        """Raise VaelibError if the lock was taken away while this process was paused."""
        if not self.owned():
            raise VaelibError(
                f"{self.what or self.path}: this process stood still for so long that another took the work over; "
                "what that one makes is used, run again"
            )

    @staticmethod
    def _flock(handle: int) -> bool:
        """Try to get the kernel's lock on an open file; False if another process has it or the file system has none."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _wait(self) -> None:
        seen, looks = None, 0
        while not self._create():
            try:
                now = _read(self.path)
            except FileNotFoundError:
                continue  # released since
            looks = looks + 1 if now == seen else 0
            if self._take(now[0], silent=looks >= LOOKS):
                return
            if seen is None and self.what:
                _, host, process = (*now[0].split(), "?", "?", "?")[:3]
                print(f"{self.what} is being made by process {process} on {host}; waiting for it", flush=True)
            seen = now
            time.sleep(LOOK)

    def _create(self) -> bool:
        try:
            os.link(self.own, self.path)
        except FileExistsError:
            return self.owned()  # a network file system may do it and lose the answer
        except OSError:  # no hard links here
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
            os.replace(self.own, self.path)
        return True

    def _take(self, text: str, silent: bool = False) -> bool:
        """Take the lock from the holder ``text`` if it died on this machine, or was ``silent`` for long enough."""
        here = text.startswith(_machine())
        if not (here or silent):
            return False
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(self.path, os.O_RDWR)
            try:
                # Held until the file is replaced: of those who wait on this machine one alone goes on.
                died = self._flock(handle) and here
                if not (died or silent) or _read(self.path)[0] != text:
                    return False
                os.replace(self.own, self.path)
            finally:
                os.close(handle)
            if not died:  # somebody on another host may have done the same; the last one has it
                time.sleep(4 * LOOK)
            return self.owned()
        return False

    def _beat(self) -> None:
        while not self.released.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.handle)
