"""Workers that die: the run is tried once more, told with its log, and the independent rest goes on."""

import contextlib
import os
import shutil
import signal
import time
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar, get_args, get_type_hints

import dask
import numpy as np
import pytest
import torch

from vaelib import runs
from vaelib.errors import VaelibError
from vaelib.precision import usable_gpus
from vaelib.runs import Store, cluster, engine, run, worker
from vaelib.runs.cost import price
from vaelib.runs.cost.work import Work
from vaelib.runs.kinds import Kind, _kinds, makes
from vaelib.runs.provenance import provenance
from vaelib.runs.settings import Artifact
from vaelib.runs.stages.context import pick_device

from .defaults import kinds


class Odd(Artifact):
    """Something that ends as its name says, until it was begun ``deaths`` times."""

    kind: ClassVar[str] = "odd"
    name: str
    deaths: int = 0


def make_odd(settings, context):
    """Count how often it was begun, then die, fail, eat memory or write a file."""
    count = context.folder / "checkpoint" / "count"
    begun = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(begun))
    if begun > settings.deaths:
        (context.folder / "a.txt").write_text(settings.name)
    elif settings.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif settings.name == "fails":
        raise RuntimeError("odd trouble")
    else:
        eaten = []
        while sum(map(len, eaten)) < 4 * 2**30:
            eaten.append(np.ones(2**26, dtype=np.uint8))
            time.sleep(0.02)


class Coreful(Artifact):
    """Something that needs no GPU."""

    kind: ClassVar[str] = "coreful"
    name: str


def make_whereabouts(settings, context):
    from distributed import get_worker

    (context.folder / "a.txt").write_text(f"{get_worker().name} on {context.device}")


class Link(Artifact):
    """A link of a chain: it takes a moment and says in whose hands."""

    kind: ClassVar[str] = "link"
    name: str
    moments: int = 2
    above: "Link | None" = None


def make_link(settings, context):
    from distributed import get_worker

    with (context.store.root / f"hands of {get_worker().name}").open("a") as file:
        file.write(f"{settings.name}\n")
    time.sleep(0.2 * settings.moments)
    (context.folder / "a.txt").write_text(settings.name)


makes(Link, work=lambda link: Work(core=float(link.moments)))(make_link)
makes(Coreful, gpu=False)(make_whereabouts)
makes(Odd)(make_odd)  # a worker imports this module to read the settings, and then knows it too


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "hpu:0", "gpu"])
def test_only_devices_that_can_run_all_of_it_are_taken(name, tmp_path):
    with pytest.raises(VaelibError, match=r"use auto, cpu, cuda or cuda:N") as error:
        pick_device(name)
    assert "\n" not in str(error.value)
    with pytest.raises(VaelibError, match="device = "):  # at once, before any process or artifact
        run([], store=Store(tmp_path), device=name)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    cards(monkeypatch, (9, 0), (9, 0))
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(VaelibError, match=r"cuda:2: this machine has 2 CUDA"):
        pick_device("cuda:2")


def cards(monkeypatch, *capabilities, built=("sm_75", "sm_80", "sm_90", "compute_120")):
    """Imagine GPUs of these capabilities, and a PyTorch with kernels for those that are ``built``."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(built))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: f"card {number}")
    monkeypatch.setattr("vaelib.runs.provenance.bf16_pays", lambda device: True)


def test_a_gpu_without_kernels_is_not_taken(monkeypatch):
    """To PyTorch a V100 is available, and the first kernel fails."""
    older = [(7, 0), (6, 1), (8, 9), (7, 5), (10, 0), (12, 1)]
    cards(monkeypatch, *older)
    # 8.9 runs kernels for 8.0; for 10.0 there are none, for 12.1 a driver builds some.
    assert usable_gpus() == [2, 3, 5]
    assert pick_device() == torch.device("cuda:2")
    assert cluster.gpus_for("auto") == [2, 3, 5]
    with pytest.raises(VaelibError, match="device = cuda:1: this PyTorch has no kernels for the card 1; install a"):
        pick_device("cuda:1")
    monkeypatch.setattr("distributed.get_worker", lambda: SimpleNamespace(name=4))
    assert worker._own_device("auto") == "cuda:3"
    assert provenance.__wrapped__()["device"].startswith("card 2")
    assert provenance.__wrapped__("cuda:3")["device"].startswith("card 3")
    assert provenance.__wrapped__("cpu")["device"].startswith("CPU")
    cards(monkeypatch, (7, 0))
    assert pick_device() == torch.device("cpu")
    assert provenance.__wrapped__()["device"].startswith("CPU")
    cards(monkeypatch, (9, 0), built=("gfx90a",))
    assert usable_gpus() == [0]
    cards(monkeypatch, (9, 0), (10, 3), (7, 0), built=("sm_90a", "sm_100f"))
    assert usable_gpus() == [0, 1]


def test_a_driver_that_cannot_start_is_no_gpu(monkeypatch):
    """PyTorch counts the cards by another library then, and asking one for anything raises."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (usable_gpus(), cluster.gpus_for("auto")) == ([], [])
    assert pick_device() == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(VaelibError, match="device = cuda: this machine has no CUDA device"):
        pick_device("cuda")


def test_what_runs_on_cores_is_priced_by_cores(monkeypatch):
    cards(monkeypatch, (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=40 * 2**30))
    assert price.this_machine().unit == "GPU"
    assert price.this_machine(device="cpu").unit == "core"
    assert price.this_machine(device="cpu").fc == price.REFERENCE["fc"]


def test_a_dead_worker_costs_one_run_that_says_where_its_log_is(tmp_path, monkeypatch, capsys):
    pytest.importorskip("bokeh")
    # Now, not inside dask.config.set: at the end of that it would lose its defaults.
    pytest.importorskip("distributed")
    monkeypatch.delenv("VAELIB_HEADLESS", raising=False)
    monkeypatch.setattr(cluster, "DASHBOARD_AFTER", 0.0)
    store = Store(tmp_path)
    doomed, fails, odd, fine = (
        Odd(name=name, deaths=deaths) for name, deaths in (("killed", 9), ("fails", 9), ("fails", 1), ("fine", 0))
    )
    # What a new process takes on a busy machine is longer than what dask grants it; here it grants next to nothing.
    with pytest.raises(VaelibError) as error, dask.config.set({"distributed.deploy.lost-worker-timeout": "1 ms"}):
        runs.run([doomed, fails, odd, fine], store=store, workers=1)
    text = str(error.value)
    assert text.startswith("2 of 4 runs failed")
    assert f"odd {doomed.key}: its worker process died twice" in text
    assert "give fewer --workers" in text
    assert f"RuntimeError: odd trouble; its log is {store.log(fails)}" in text
    assert all(store.has(one) for one in (odd, fine))
    assert store.log(doomed).read_text().count("begun by process") == 3
    assert store.log(fails).read_text().count("odd trouble") >= 2
    assert not store.log(odd).exists()
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "http" in one]
    assert line.startswith("what each worker is doing: http://127.0.0.1:")


def test_what_a_finished_run_makes_possible_goes_before_what_is_less_urgent(tmp_path):
    """A worker has no queue of its own: the longest chain does not wait for what was handed out before it could go on."""
    chain = Link(name="samples", moments=5, above=Link(name="teacher", moments=5))
    run([chain, *(Link(name=f"other {number}") for number in range(9))], store=Store(tmp_path), workers=2)
    hands = [path.read_text().splitlines() for path in tmp_path.glob("hands of *")]
    (own,) = (names for names in hands if "teacher" in names)
    assert own[:2] == ["teacher", "samples"]
    assert sum(map(len, hands)) == 11


def test_small_work_is_done_here_with_the_threads_of_a_worker_and_the_same_words(tmp_path, monkeypatch):
    """Starting workers costs more than a few seconds of work; what failed is told as they tell it."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(cluster, "cores", lambda: 6)
    monkeypatch.setattr(cluster, "share_out", lambda *_: (2, 2**30))
    seen, todo = [], [Odd(name="fails", deaths=9), Odd(name="fails", deaths=1), Odd(name="fine")]
    kind = Kind(lambda *given: (seen.append(torch.get_num_threads()), make_odd(*given)), None, lambda _: 1)
    monkeypatch.setitem(_kinds, Odd, kind)
    store, before = Store(tmp_path), torch.get_num_threads()
    with pytest.raises(VaelibError) as error:
        run(todo, store=store)
    assert str(error.value) == (
        f"1 of 3 runs failed (odd {todo[0].key}: RuntimeError: odd trouble; its log is {store.log(todo[0])}); the other 2 "
        "are in the store: fix it and run again"
    )
    assert set(seen) == {3}  # in this process
    assert torch.get_num_threads() == before
    assert store.log(todo[0]).read_text().count("odd trouble") >= 2
    assert not store.log(todo[1]).exists()


@pytest.mark.parametrize(
    "given", [{"workers": 1}, {"scheduler": "tcp://127.0.0.1:1"}, {"environment": "1"}, {}], ids=str
)
def test_more_work_or_workers_that_were_asked_for_are_workers(tmp_path, monkeypatch, given):
    started, little = [], bool(given)
    if "environment" in given:
        monkeypatch.setenv("VAELIB_WORKERS", given["environment"])
        given = {}

    def client_of(*asked):
        started.append(asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "client_of", client_of)
    work = [Odd(name="fine", deaths=count) for count in range(1 if little else int(engine.STARTING) + 1)]
    with pytest.raises(KeyboardInterrupt):
        run(work, store=Store(tmp_path), **given)
    assert started == [(given.get("workers"), given.get("scheduler"), "auto")]


@pytest.mark.slow
def test_a_run_that_eats_its_machine_is_stopped_and_named(tmp_path, monkeypatch):
    from distributed import system

    monkeypatch.setattr(system, "MEMORY_LIMIT", 3 * 2**29)
    store, glutton = Store(tmp_path), Odd(name="glutton", deaths=9)
    monkeypatch.setattr(engine, "STARTING", 0.0)
    with pytest.raises(
        VaelibError,
        match=r"died twice, most likely for want of memory unless its log says more \(1\.5 GiB for this worker\)",
    ):
        runs.run([glutton, Odd(name="fine")], store=store)
    assert store.has(Odd(name="fine"))


@pytest.mark.parametrize(
    ("gib", "asked", "expected"), [(64, None, (4, 16)), (5, None, (2, 2.5)), (1, None, (1, 1)), (8, 8, (8, 1))]
)
def test_workers_share_the_memory_that_is_there(monkeypatch, gib, asked, expected):
    from distributed import system

    monkeypatch.setattr(system, "MEMORY_LIMIT", gib * 2**30)
    monkeypatch.setattr(cluster, "cores", lambda: 4)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert cluster.share_out(asked) == (expected[0], expected[1] * 2**30)


@pytest.mark.parametrize(
    ("device", "cards", "cores", "expected"),
    [
        ("auto", [80], 16, 8),
        ("auto", [80], 4, 4),
        ("cuda", [24], 16, 3),
        ("cuda", [80, 24], 16, 6),
        ("cuda:1", [80, 24], 16, 3),
        ("auto", [6], 16, 1),
        ("auto", [141], 32, 8),
        ("auto", [23.64], 16, 2),  # a card of 24 GB and one of 40, as they report themselves: a teacher takes 8 GiB
        ("auto", [39.39], 16, 4),
        ("cpu", [80], 16, 16),
    ],
)
def test_workers_of_gpus_follow_the_cards_and_the_cores(monkeypatch, device, cards, cores, expected):
    from distributed import system

    def properties(number):
        return SimpleNamespace(total_memory=cards[number] * 2**30)

    monkeypatch.setattr(system, "MEMORY_LIMIT", 128 * 2**30)
    monkeypatch.setattr(cluster, "cores", lambda: cores)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(cards))
    monkeypatch.setattr("torch.cuda.get_arch_list", list)
    monkeypatch.setattr("torch.cuda.get_device_properties", properties)
    assert cluster.share_out(None, device)[0] == expected
    assert cluster.share_out(5, device)[0] == 5


def test_what_needs_no_gpu_holds_up_no_worker_of_one(monkeypatch, tmp_path):
    """On a machine with a GPU, here imagined, one more worker is started; without one, all workers do everything."""
    store, todo = Store(tmp_path), [Coreful(name=str(number)) for number in range(3)] + [Odd(name="fine")]

    def places(device):
        run(todo, store=store, workers=1, device=device)
        return {(store.folder(one) / "a.txt").read_text() for one in todo}

    for module in (cluster, worker):
        monkeypatch.setattr(module, "gpus_for", lambda device: [0] if device == "auto" else [])
    assert places("auto") == {"core on cpu", "fine"}
    for one in todo:
        shutil.rmtree(store.folder(one))
    assert places("cpu") == {"0 on cpu", "fine"}


def test_what_a_scheduler_took_back_is_not_made(tmp_path, monkeypatch):
    """Somebody cancels it, or restarts the cluster: what needs it does not begin."""

    class Client:
        asked: ClassVar[list[str]] = []
        subscribe_topic = unsubscribe_topic = lambda self, *_: None

        def ncores(self):
            return {"one": 1}

        def submit(self, *_, key, **__):
            self.asked.append(key)
            return Future()

    class Future:
        status = "cancelled"

    class Waiting(list):
        add = list.append

    monkeypatch.setattr("distributed.as_completed", Waiting)
    monkeypatch.setattr(engine, "dashboard", lambda client: contextlib.nullcontext())
    below = Link(name="below", above=Link(name="above"))
    monkeypatch.setattr(engine, "_needs", lambda artifact: [artifact.above] if artifact.above else [])
    with pytest.raises(VaelibError, match="the scheduler took it back"):
        engine._run_on(Client(), [below.above, below], Store(tmp_path), "cpu", "title", "tcp://x", Counter({"": 1}))
    assert len(Client.asked) == 1


@pytest.mark.parametrize(
    ("options", "said"), [({"workers": 0}, "'tcp://x:1'"), ({"workers": 3}, "'tcp://x:1'"), ({}, "''")]
)
def test_a_scheduler_is_an_address_and_has_its_own_workers(options, said, tmp_path):
    with pytest.raises(VaelibError, match=rf"scheduler = {said} must be an address.*without a number of workers"):
        run([Link(name="a")], store=Store(tmp_path), scheduler=said.strip("'"), **options)


@pytest.mark.parametrize(("given", "threads"), [("2,1", "2"), (" 4 ", "4"), ("many", None)])
def test_threads_are_read_as_openmp_reads_them(given, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    if threads is None:
        with pytest.raises(VaelibError, match="OMP_NUM_THREADS = many is no number of threads"):
            cluster._threads_each(1, "cpu")
    else:
        assert cluster._threads_each(1, "cpu") == threads


def test_the_longest_chain_of_runs_begins_first(monkeypatch, tmp_path):
    """A worker that is free takes the first run that it is sent, and the night's teacher is not the first in the list."""
    store, todo = Store(tmp_path), [Odd(name=str(number)) for number in range(4)]
    monkeypatch.setattr(engine, "path_lengths", lambda todo, price: {one.key: float(one.name) for one in todo})
    run(todo, store=store, workers=1)
    made = sorted(todo, key=lambda one: (store.folder(one) / "a.txt").stat().st_mtime_ns)
    assert [one.name for one in made] == ["3", "2", "1", "0"]


def test_a_process_whose_device_is_lost_ends_and_another_tries_once_more(monkeypatch, tmp_path):
    """Whatever it was given next would fail, too; nor does giving memory back hide what went wrong."""
    lost, log = torch.AcceleratorError("an illegal memory access was encountered"), tmp_path / "a.log"

    def work():
        raise lost

    def leaves(code):
        raise SystemExit(code)

    monkeypatch.setattr("os._exit", leaves)
    with pytest.raises(SystemExit):
        worker.attempt(log, "call", work)
    assert "illegal memory access" in log.read_text()
    with pytest.raises(torch.AcceleratorError):  # in the caller's own process there is no other
        worker.attempt(log, "", work)
    for nanny, ends in (("tcp://10.0.0.1:1", SystemExit), (None, torch.AcceleratorError)):  # on somebody's cluster
        monkeypatch.setattr("distributed.get_worker", lambda nanny=nanny: SimpleNamespace(nanny=nanny))
        with pytest.raises(ends):
            worker.attempt(log, "", work)


def test_the_environment_may_say_how_many_workers(monkeypatch):
    monkeypatch.setenv("VAELIB_WORKERS", "3")
    assert cluster.share_out(None)[0] == 3
    assert cluster.share_out(2)[0] == 2
    for wrong in ("0", "many", "-1"):
        monkeypatch.setenv("VAELIB_WORKERS", wrong)
        with pytest.raises(VaelibError, match=f"VAELIB_WORKERS = '{wrong}' is no number of workers; set it to 1"):
            cluster.share_out(None)


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        (3, "auto", "cuda:1"),
        ("gpu-2", "cuda", "cuda:0"),
        ("tcp://10.0.0.1:4441", "auto", "cuda:1"),
        (3, "cuda:0", "cuda:0"),
        (3, "cpu", "cpu"),
        ("mine", "auto", "auto"),
    ],
)
def test_workers_spread_over_the_gpus(monkeypatch, name, device, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_arch_list", list)
    monkeypatch.setattr("distributed.get_worker", lambda: SimpleNamespace(name=name))
    assert worker._own_device(device) == expected


def test_the_dashboard_is_named_once_and_only_for_a_long_run(monkeypatch, capsys):
    monkeypatch.delenv("VAELIB_HEADLESS", raising=False)
    client = SimpleNamespace(dashboard_link="http://127.0.0.1:8787/status")
    for after, said in ((0.0, f"what each worker is doing: {client.dashboard_link}\n"), (60.0, "")):
        monkeypatch.setattr(cluster, "DASHBOARD_AFTER", after)
        with cluster.dashboard(client):
            time.sleep(0.2)
        assert capsys.readouterr().out == said


def test_what_makes_an_artifact_takes_its_settings():
    """A function that slips in below a decorator would be taken for the maker."""
    for settings in set(kinds()) & set(_kinds):
        takes = next(iter(get_type_hints(_kinds[settings].make).values()))
        assert settings in (takes, *get_args(takes))


@pytest.mark.parametrize("broken", [False, True])
def test_after_each_task_a_worker_gives_the_gpus_memory_back(monkeypatch, tmp_path, broken):
    """Others share the card; and where PyTorch cannot give it back, the run is made all the same."""
    given = []

    def empty():
        given.append(True)
        if broken:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 1)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    worker.attempt(tmp_path / "a.log", "call", lambda: None)
    with pytest.raises(VaelibError, match="odd"):
        worker.attempt(tmp_path / "b.log", "call", lambda: (_ for _ in ()).throw(VaelibError("odd")))
    assert given == [True, True]
