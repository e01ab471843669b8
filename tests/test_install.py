"""Install anywhere: the lock against pyproject.toml, a system without POSIX, a Mac with its make 3.81 and bash 3.2."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "win32": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
PYTHONS = ("3.11.2", "3.11.9", "3.12.4", "3.13.1")  # Debian 12 has the first


def extras_of_all() -> set[str]:
    (line,) = EXTRAS["all"]
    return Requirement(line).extras


def declared() -> list[Requirement]:
    lines = PROJECT["dependencies"] + [line for name in sorted(extras_of_all()) for line in EXTRAS[name]]
    return [Requirement(line) for line in lines]


def locked(system: str, python: str) -> dict[str, str]:
    """Return the versions that the lock has for a system and a Python; a name may have one alone."""
    place = SYSTEMS[system] | {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
    }
    found: dict[str, str] = {}
    for requirement in map(Requirement, LOCK):
        if requirement.marker is None or requirement.marker.evaluate(place):
            (version,) = requirement.specifier
            assert version.operator == "=="
            assert found.setdefault(canonicalize_name(requirement.name), version.version) == version.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lock_has_all_that_is_declared_in_a_version_that_is_allowed(system, python):
    versions = locked(system, python)
    wrong = [
        str(one)
        for one in declared()
        if not ((version := versions.get(canonicalize_name(one.name))) and one.specifier.contains(version))
    ]
    assert wrong == [], "make update-lock"
    assert ("nvidia-cublas" in versions) == ("triton" in versions) == (system == "linux")
    assert ("pywinpty" in versions) == (system == "win32")


def test_the_lock_names_no_host_and_no_path():
    assert len(LOCK) > 150
    assert [line for line in LOCK if not re.fullmatch(r"[a-z0-9._-]+==[\w.]+( ; [\w.<>=!'*() ]+)?", line)] == []


def test_each_extra_is_in_all_but_the_peer_of_the_benchmarks():
    assert extras_of_all() == set(EXTRAS) - {"all", "bench"}


def test_conda_brings_a_python_that_is_allowed_and_the_locked_versions():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, pip = content["dependencies"]
    assert pip == {"pip": ["-c requirements.lock", "-e .[all]"]}
    assert sorted(re.split("[=<>]", name)[0] for name in plain) == ["make", "pip", "python"]
    (python,) = (name.partition("=")[2] for name in plain if name.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)


# --- Windows ------------------------------------------------------------------------------------------------------------

# What Windows lacks is taken away, and what it refuses is refused: folders are not opened, and only what is open for writing
# is synced. (A path's text has other separators there; that is not shown here.)
AS_ON_WINDOWS = """
import os, signal, sys
import distributed, pandas, torch, tqdm  # these know what system it is; for what is imported from here on it is another
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("O_DIRECTORY", "fork", "getpgid", "getuid", "killpg", "mkfifo", "sched_getaffinity", "setsid", "sysconf", "uname"):
    delattr(os, name) if hasattr(os, name) else None
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM"):
    delattr(signal, name)
opened, synced, reading = os.open, os.fsync, set()

def open_no_folder(path, flags, *rest, **more):
    ours = sys._getframe(1).f_globals.get("__name__", "").startswith("vaelib")  # Linux's own rmtree opens folders
    if ours and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    handle = opened(path, flags, *rest, **more)
    (reading.discard if flags & (os.O_RDWR | os.O_WRONLY) else reading.add)(handle)
    return handle

def sync_what_is_written(handle):
    if handle in reading:
        raise OSError(9, "Bad file descriptor")
    synced(handle)

os.open, os.fsync = open_no_folder, sync_what_is_written
"""

USE = """
from vaelib import FullyConnectedVAE, Gaussian, TrainingDistribution, VAEState, evaluate_elbo, train_vae
images = (torch.rand(40, 1, 32, 32) * 255).to(torch.uint8)
vae = FullyConnectedVAE(d_z=2, hidden=8, likelihood=Gaussian(sigma=0.1))
for epoch in train_vae(VAEState(vae), TrainingDistribution(images, n_train=40), epochs=1):
    assert epoch.elbo < 0
assert evaluate_elbo(vae, images).shape == (40,)

from vaelib.runs import Store, run
from vaelib.studies.three_gaps.runs import three_gaps
tiny = {"n_train": 40, "n_test": 16, "seeds": 1, "epochs": 2, "hidden": 8, "batch_size": 20, "amortization_images": 4,
        "amortization_steps": 4, "attack_images": 2}
wanted = three_gaps("smoke", sys.argv[1], overrides=tiny).runs[:1]  # normal training
run(wanted, workers=0)
for artifact in wanted:
    assert Store().complaints(artifact) == []
    print(*sorted(Store().manifest(artifact)["files"]))
"""


def test_the_library_and_its_runs_need_nothing_that_windows_lacks(toy):
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS + USE, toy], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "curve.json" in done.stdout.split()


def test_text_is_written_and_read_as_utf8_whatever_the_system_prefers():
    """Windows' own is another, and Python 3.11 would take it."""
    call = re.compile(r"\.read_text\(\)|\.write_text\([^()]*(\([^()]*\))?[^()]*\)|(?<![\w.])open\(\w+\)")
    found = [
        f"{path.relative_to(ROOT)}: {one.group()}"
        for path in (ROOT / "vaelib").rglob("*.py")
        for one in call.finditer(path.read_text(encoding="utf-8"))
        if "encoding" not in one.group()
    ]
    assert found == []


# --- a Mac --------------------------------------------------------------------------------------------------------------

# What GNU make has had since 3.82, and bash since 4.0.
NEWER_MAKE = (
    r"\.ONESHELL|\.EXTRA_PREREQS|\.WAIT|\$\((file|let|intcmp|guile) |::=|^\w+ *!= |^\s*(private|undefine|load) |&:"
)
NEWER_BASH = (
    r"\b(mapfile|readarray|coproc|globstar)\b|declare -[Ag]|local -n|\$\{\w+(,|\^|@)|&>>|\|&|wait -n|\{\d+\.\.\d+\.\.\d"
)


def test_a_macs_own_make_and_bash_know_all_that_is_used():
    for name in ("Makefile", "notebooks/run.mk"):
        code = re.sub(r"^#.*", "", (ROOT / name).read_text(), flags=re.MULTILINE)
        assert re.findall(NEWER_MAKE, code, re.MULTILINE) == [], name
        assert re.findall(NEWER_BASH, code, re.MULTILINE) == [], name
    for path in (ROOT / "notebooks").glob("*.sh"):
        assert re.findall(NEWER_BASH, path.read_text(), re.MULTILINE) == [], path.name
