"""One maker at a time, also on a file system that several hosts share: a lease of the package ``filelock``.

A lock is a file that one process alone can create; it names its holder, who touches it every few seconds. On the holder's
own machine a dead one is found out at once, from elsewhere after ``SILENT`` seconds without a touch by the watcher's own clock:
no two clocks are compared. A holder that was only paused finds out by :meth:`Lock.check`, before it publishes anything.
"""

from pathlib import Path

from filelock import SoftFileLease, Timeout

from ..errors import VaelibError

# Seconds between touches, between looks, and after which a silent holder counts as dead.
BEAT, LOOK, SILENT = 5.0, 0.25, 60.0


class Lock:
    """Hold ``path`` as a lock within a ``with`` block; wait for whoever has it, or take it from the dead."""

    def __init__(self, path: Path, what: str = ""):
        """``what`` names the thing being made for the line that is printed when it has to be waited for."""
        self.path, self.what = path, what
        self.lease = SoftFileLease(path, lease_duration=SILENT, heartbeat_interval=BEAT)

    def __enter__(self) -> "Lock":
        try:
            self.lease.acquire(timeout=0)
        except Timeout:
            if self.what:
                about = dict(line.partition("=")[::2] for line in self._text().splitlines())
                process, host = about.get("pid", "?"), about.get("host", "?")
                print(f"{self.what} is being made by process {process} on {host}; waiting for it", flush=True)
            self.lease.acquire(poll_interval=LOOK)
        return self

    def __exit__(self, *_: object) -> None:
        self.lease.release()

    def _text(self) -> str:
        """Return what the file holds; opened anew, for then a network file system asks its server."""
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""

    def owned(self) -> bool:
        """Return True as long as nobody took the lock away."""
        return f"token={self.lease.token}" in self._text().splitlines()

    def check(self) -> None:
        """Raise VaelibError if the lock was taken away while this process was paused."""
        if not self.owned():
            raise VaelibError(
                f"{self.what or self.path}: this process stood still for so long that another took the work over; "
                "what that one makes is used, run again"
            )
