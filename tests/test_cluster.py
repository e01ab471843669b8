"""A cluster as docs/machines.md starts it: a scheduler and two workers of their own, encrypted, run a sweep."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small import TINY
from vaelib.runs import Store, missing
from vaelib.studies.smoothness.runs import smoothness

PAGE = (Path(__file__).resolve().parents[1] / "docs/machines.md").read_text()


def test_the_pages_shell_lines_parse():
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    """Make the certificate as the page says, and export what it exports."""
    lines = re.search(r"```sh\n(openssl .*?)```", PAGE, re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    settings = subprocess.run(["bash", "-ec", f"{lines}\nenv -0"], capture_output=True, text=True, check=True).stdout
    for name, _, value in (item.partition("=") for item in settings.split("\0")):
        if name.startswith("DASK_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def cluster(tmp_path, monkeypatch, certificates):
    """Start what the page says, on a port of its own; return the scheduler's address."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    dask, where = [sys.executable, "-m", "dask"], tmp_path / "scheduler.json"
    local = ["--host", "127.0.0.1", "--scheduler-file", str(where)]
    started = [subprocess.Popen([*dask, "scheduler", "--protocol", "tls", "--port", "0", "--no-dashboard", *local])]
    while not where.exists() and started[0].poll() is None:
        time.sleep(0.1)
    options = ["--nthreads", "1", "--nworkers", "2", "--no-dashboard", "--local-directory", str(tmp_path)]
    started.append(subprocess.Popen([*dask, "worker", "--host", "127.0.0.1", *local[2:], *options]))
    try:
        yield re.search(r"tls://[^\"]+", where.read_text()).group()
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_two_workers_of_an_external_scheduler_run_a_sweep_over_tls(toy, cluster):
    options = [item for name, value in TINY.items() for item in ("--set", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "vaelib",
        "run",
        "smoothness",
        "--profile",
        "smoke",
        "--dataset",
        toy,
        *options,
    ]
    subprocess.run([*command, "--scheduler", cluster], env=os.environ, check=True, timeout=200)
    chosen = smoothness("smoke", toy, overrides=TINY)
    assert missing(chosen.runs, Store()) == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
@pytest.mark.filterwarnings("default")
def test_the_slurm_recipe_writes_a_job_that_parses_and_is_encrypted(certificates):
    pytest.importorskip("dask_jobqueue")
    import dask

    (recipe,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    head, _, rest = recipe.partition("print(jobs.job_script())\n")
    compile(rest, "docs/machines.md", "exec")
    with dask.config.set({"distributed.comm": {}}):
        dask.config.refresh()  # the exports came after the import
        names = {}
        exec(
            head.replace("SLURMCluster(", "SLURMCluster(scheduler_options={'host': '127.0.0.1', 'dashboard': False},"),
            names,
        )
        with names["jobs"] as jobs:
            script, address = jobs.job_script(), jobs.scheduler_address
    assert address.startswith("tls://127.0.0.1")
    assert {"#SBATCH --gres=gpu:1", "#SBATCH -t 24:00:00", "#SBATCH --mem=15G"} <= set(script.splitlines())
    assert re.search(rf"-m distributed.cli.dask_worker {address} .*--nthreads 1 .*--lifetime 23h", script)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
