"""Downloads: the right bytes or none, and a dead host costs one time-out, not one a file."""

import hashlib
import socket
import time
from pathlib import Path

import pytest

from vaelib.data import download


def served(folder: Path, content: bytes = b"content") -> tuple[str, dict[str, str]]:
    folder.mkdir()
    (folder / "a").write_bytes(content)
    return f"{folder.as_uri()}/", {"a": hashlib.md5(b"content").hexdigest()}


def test_the_first_mirror_that_has_the_right_bytes_wins(tmp_path, capsys):
    wrong, files = served(tmp_path / "wrong", b"other")
    right, _ = served(tmp_path / "right")
    cache = tmp_path / "cache"
    assert download.download(files, [f"{tmp_path.as_uri()}/none/", wrong, right], cache, "Debian")
    assert (cache / "a").read_bytes() == b"content"
    assert [path.name for path in cache.iterdir()] == ["a"]
    assert capsys.readouterr().out.count("not reached") == 2


def test_a_failed_host_is_asked_once(tmp_path, monkeypatch, capsys):
    asked = []

    def refuse(url):
        asked.append(url)
        raise download.NotReached("no route")

    monkeypatch.setattr(download, "_open", refuse)
    mirrors = ["https://one.invalid/", "https://two.invalid/"]
    assert not download.download({"a": "", "b": "", "c": ""}, mirrors, tmp_path, "Debian")
    assert asked == [f"{mirror}a" for mirror in mirrors]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "one.invalid not reached (no route), trying two.invalid"
    assert said[1] == "two.invalid not reached (no route), trying Debian"


def test_a_host_that_hangs_costs_one_time_out(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert not download.download({"a": "", "b": ""}, [url], tmp_path, "Debian")
        assert time.monotonic() - start < 2


def test_a_program_that_is_missing_or_fails_is_not_reached(tmp_path):
    with pytest.raises(download.NotReached, match="no-such-program"):
        download._run(["no-such-program"], str(tmp_path))
    with pytest.raises(download.NotReached, match="said so"):
        download._run(["sh", "-c", "echo said so >&2; exit 3"], str(tmp_path))
