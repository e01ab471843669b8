"""Prices: work counted from shapes against torch's counter, the paper's own costs, and a plan's sums."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.gaps import evaluate_elbo
from vaelib.planning import machine_speed as calibrate
from vaelib.planning import plan as planning
from vaelib.precision import mps_runs
from vaelib.progress import duration
from vaelib.report.study import studies, wanted
from vaelib.runs import Bank, Data, Network, Store, Teacher, VAERun
from vaelib.runs.cost import price
from vaelib.runs.cost.work import (
    KERNELS,
    PASSES,
    SCORING,
    Work,
    size,
    teacher_macs,
    teacher_parameters,
    vae_kernels,
    vae_macs,
    vae_parameters,
    work,
)
from vaelib.runs.engine import all_artifacts
from vaelib.runs.settings import Regularisation
from vaelib.runs.stages import build_vae, resolve_data
from vaelib.runs.stages.data import reading_once
from vaelib.runs.stages.diffusion import build_teacher
from vaelib.training.diffusion import train_denoiser

from .test_launches import Watched, a_step_more, images, vae_steps

EXPERIMENTS = {study.name: study.runs for study in studies().values() if study.runs}

ROOT = Path(__file__).resolve().parents[1]
HOUR = 3600
CIFAR = Data(name="cifar10", n_train=50_000, n_test=10_000, label="as published", channels=3, digest="0")


def counted(function, *inputs) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops()


def data(channels: int) -> Data:
    return Data(name="toy", n_train=4, n_test=2, label="toy", digest="0", channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "network",
    [
        Network(latents=5, hidden=24),
        Network(likelihood="mol", mixtures=3),
        *(
            Network(architecture="residual", likelihood="mol", nc=6, mz=3, variant=variant)
            for variant in ("fig8", "table5", "table6", "tables5+6")
        ),
        Network(architecture="residual", likelihood="mol", nc=6, rgb="per_channel", mixtures=2),
    ],
    ids=lambda network: f"{network.architecture}-{network.likelihood}-{network.variant}-{network.rgb}",
)
def test_a_vaes_work_is_what_torch_counts(network, channels):
    with FakeTensorMode():
        vae = build_vae(network, channels).eval()
        encode = counted(vae.encode, torch.empty(1, channels, 32, 32))
        decode = counted(vae.decode, torch.empty(1, vae.d_z))
    assert (encode, decode) == tuple(2 * macs for macs in vae_macs(network, channels))
    if network.variant == "fig8":
        assert vae_parameters(network, channels) == sum(p.numel() for p in vae.parameters())


def test_the_residual_vae_has_the_macs_of_the_paper():
    for nc in (16, 64, 256):
        encode, decode = vae_macs(Network(architecture="residual", likelihood="mol", nc=nc, mz=1), 3)
        assert encode + decode == 8_704 * nc**2 + 114_688 * nc + 192 * nc


@pytest.mark.parametrize(("network", "width"), [("small", 16), ("small", 48), ("edm", 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_teachers_work_is_what_torch_counts(network, width, channels):
    teacher = Teacher(data=data(channels), network=network, width=width, amp=False)
    with FakeTensorMode():
        denoiser = build_teacher(teacher).eval()
        flops = counted(denoiser, torch.empty(1, channels, 32, 32), torch.ones(1))
        parameters = sum(p.numel() for p in denoiser.parameters())
    assert flops == 2 * teacher_macs(teacher)
    assert parameters == teacher_parameters(teacher)


# --- the paper's own costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "images", "gigabytes", "hours"), [(1000, 50e6, 154, (417, 500)), (10, 5e5, 1.5, (4.17, 5))]
)
def test_a_bank_of_cifar_10_costs_what_the_paper_says(k, images, gigabytes, hours):
    """Appendix D.1: 25 to 30 minutes for 50,000 images on one A100."""
    bank = Bank(teacher=Teacher(data=CIFAR), size=k * 50_000)
    assert bank.size == images
    assert size(bank) / 1e9 == pytest.approx(gigabytes, rel=0.03)
    assert hours[0] < price.hardware("a100").seconds(work(bank)) / HOUR < hours[1]


def test_the_teacher_of_cifar_10_takes_eight_a100s_about_a_day():
    assert price.hardware("a100").seconds(work(Teacher(data=CIFAR))) / 8 / HOUR == pytest.approx(24, rel=0.1)


def test_training_the_residual_vae_is_180_teraflops_an_epoch():
    run = VAERun(data=CIFAR, network=Network(architecture="residual", likelihood="mol"), epochs=1, evaluations=())
    assert work(run).flops == pytest.approx(180e12, rel=0.02)
    assert work(run).mixture == 50_000 * 3_072 * 10
    others = run.model_copy(update={"network": run.network.model_copy(update={"rgb": "zhang2022"})})
    assert 1.5 < work(others).mixture / work(run).mixture < 2.5  # its gradients are PyTorch's


def test_augmentation_takes_a_core_a_third_of_a_step():
    """Measured: 12,300 and 9,000 images a second."""
    core, plain = price.this_machine(quick=True), VAERun(data=data(1), evaluations=())
    augmented = plain.model_copy(update={"method": "aug_tuned"})
    assert core.seconds(work(augmented)) == pytest.approx(12.3 / 9.0 * core.seconds(work(plain)), rel=0.05)


def test_what_a_regulariser_draws_is_a_cores_work():
    """Measured on an Intel Xeon, a batch of 64: 1.5 ms of masks, 0.26 to 0.54 ms of noise; the warm-up draws nothing."""
    plain = VAERun(data=data(1), evaluations=())
    batches = plain.epochs * plain.data.n_train / 64

    def drawn(**remedy):
        return work(plain.model_copy(update={"regularisation": Regularisation(**remedy)})).core / batches

    assert drawn(dropout=0.1) == pytest.approx(1.5e-3, rel=0.1)
    assert 2.6e-4 < drawn(denoising=0.1) < 5.4e-4
    assert drawn(kl_warmup=0.5) == drawn(weight_decay=0.1) == 0


def test_hardware_is_known_by_name_and_twice_as_much_takes_half_the_time():
    bank = Bank(teacher=Teacher(data=CIFAR))
    one, two = (planning.price([bank], Store(), price.hardware("h100", count)) for count in (1, 2))
    assert one.seconds == pytest.approx(2 * two.seconds)
    assert one.work_seconds == two.work_seconds
    with pytest.raises(VaelibError, match="choose one of a100, h100, rtx2080ti"):
        price.hardware("abacus")
    with pytest.raises(VaelibError, match="count = 0"):
        price.hardware("a100", 0)


def test_a_small_network_waits_for_its_kernels_on_a_gpu():
    machine = price.hardware("a100")
    assert machine.seconds(Work(fc=1e6, kernels=1e6)) == pytest.approx(price.LAUNCH * 1e6)
    assert machine.seconds(Work(fc=1e6, captured=1e6)) == pytest.approx(price.SHORTEST * 1e6)
    assert machine.seconds(Work(fc=1e18, kernels=1)) == pytest.approx(1e18 / machine.fc)


def test_workers_fill_the_time_that_one_waits_for_python_but_not_the_time_that_a_gpu_computes():
    machine = price.hardware("h100")
    assert (machine.cards, machine.workers) == (1, 8)
    assert (price.hardware("rtx2080ti", 3).workers, price.hardware("a100").workers) == (3, 4)
    vaes = [VAERun(data=CIFAR, seed=seed) for seed in range(8)]
    one, all_of_them = (planning.price(some, Store(), machine) for some in (vaes[:1], vaes))
    busy = machine.busy(work(vaes[0]))
    assert busy < one.seconds
    assert all_of_them.seconds == pytest.approx(max(one.seconds, 8 * busy))
    assert planning.price(vaes, Store(), machine._replace(workers=1)).seconds == pytest.approx(8 * one.seconds)


def test_under_mps_workers_also_fill_the_time_that_one_waits_for_its_own_kernels():
    """Eight small VAEs then take as long as one, until it is arithmetic that takes longer; one alone takes as long as before."""
    turns, together = (price.hardware("h100", together=on) for on in (False, True))
    vaes = [VAERun(data=CIFAR, seed=seed) for seed in range(80)]
    alone = [planning.price(vaes[:1], Store(), machine).seconds for machine in (turns, together)]
    assert alone[0] == alone[1]
    eight, many = (planning.price(vaes[:n], Store(), together) for n in (8, 80))
    assert eight.seconds == pytest.approx(alone[1])
    assert many.seconds == pytest.approx(max(10 * alone[1], 80 * together.busy(work(vaes[0]))))
    assert planning.price(vaes[:8], Store(), turns).seconds > 4 * eight.seconds
    teacher = Teacher(data=CIFAR)  # which leaves nothing of the card
    small = Work(kernels=1e6)  # that Python starts faster than they run
    assert (
        together._replace(launch=0.0).seconds(small)
        == turns._replace(launch=0.0).seconds(small)
        == 1e6 * price.SHORTEST
    )
    assert turns.busy(work(teacher)) == together.busy(work(teacher)) == pytest.approx(together.seconds(work(teacher)))


def test_mps_is_seen_where_its_daemon_listens(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not mps_runs()
    (tmp_path / "control").touch()
    assert mps_runs()
    monkeypatch.setattr(price, "gpus_for", lambda device: [0])
    monkeypatch.setattr(price, "usable_gpus", lambda: [0])
    monkeypatch.setattr(price, "share_out", lambda workers, device: (8, "2GB"))
    timed = dict.fromkeys((*price.RATES, *price.WAITS), 1.0)
    for known in (None, timed):
        monkeypatch.setattr(price, "measured", lambda known=known: known)
        assert price.this_machine().together
    (tmp_path / "control").unlink()
    assert not price.this_machine().together
    if os.name == "posix" and os.geteuid() != 0:
        tmp_path.chmod(0)
        assert not mps_runs()
        tmp_path.chmod(0o700)
    assert "CUDA MPS on" in price.hardware("h100", together=True).name


def test_the_kernels_that_prices_count_are_the_operations_of_the_networks(monkeypatch):
    """In bfloat16, as on a GPU, whatever this machine's processor multiplies."""
    monkeypatch.setattr("vaelib.models.denoiser.bf16_pays", lambda device: True)

    def teacher_steps(network):
        denoiser = build_teacher(Teacher(data=data(1), network=network, width=8))
        options = {"batch_size": 2, "lr_rampup": 0, "report_every": 800}
        return lambda steps: list(train_denoiser(denoiser, images(2 * steps), n_images=2 * steps, **options))

    def scoring(vae, channels, count):
        with Watched() as watched:
            # One tile of a mixture.
            evaluate_elbo(vae, torch.zeros(count, channels, 32, 32, dtype=torch.uint8), batch_size=4)
        return watched.operations

    for network in (Network(hidden=32), Network(architecture="residual", nc=4), Network(hidden=32, likelihood="mol")):
        for channels in (1, 3):
            found = a_step_more(vae_steps(build_vae(network, channels), amp=True))[0]
            assert vae_kernels(network, channels) == pytest.approx(found, rel=0.2), (network, channels)
            vae = build_vae(network, channels)
            _, one, two = (scoring(vae, channels, count) for count in (4, 4, 8))  # the first also what is made once
            assert SCORING * vae_kernels(network, channels) == pytest.approx(two - one, rel=0.3), (network, channels)
    for network in ("small", "edm"):
        found = a_step_more(teacher_steps(network))[0]
        assert KERNELS[network] * PASSES == pytest.approx(found, rel=0.1), network


# --- plans --------------------------------------------------------------------------------------------------------


def test_a_plan_counts_shared_runs_once_and_what_is_there_not_at_all(toy, tmp_path):
    chosen = {name: EXPERIMENTS[name] for name in ("smoothness", "mixing")}
    store, machine = Store(tmp_path / "store"), price.this_machine(quick=True)
    overrides = {"n_train": 40, "n_test": 16}
    plan = planning.make_plan(chosen, machine, "smoke", toy, overrides=overrides, store=store)
    runs = {a.key: a for make in chosen.values() for a in all_artifacts(make("smoke", toy, overrides=overrides).runs)}
    assert plan.total.runs == len(runs) < sum(cost.runs for cost in plan.figures.values())
    assert plan.total.flops == pytest.approx(sum(work(artifact).flops for artifact in runs.values()))
    assert sum(cost.runs for cost in plan.kinds.values()) == plan.total.runs
    assert plan.total.work_seconds / machine.workers <= plan.total.seconds <= plan.total.work_seconds

    (teacher,) = (a for a in runs.values() if a.kind == "teacher")
    with store.making(teacher) as folder:
        (folder / "weights.safetensors").write_bytes(b"")
    then = planning.make_plan(chosen, machine, "smoke", toy, overrides=overrides, store=store)
    assert (then.total.made, then.total.runs) == (1, plan.total.runs)
    saved = plan.total.work_seconds - then.total.work_seconds
    assert saved == pytest.approx(machine.seconds(work(teacher)))


def test_a_chain_of_runs_is_no_shorter_on_more_machines(toy):
    overrides = {"n_train": 40, "n_test": 16}
    chosen = {"smoothness": EXPERIMENTS["smoothness"]}
    few, many = (
        planning.make_plan(chosen, price.hardware("a100", count), "paper", toy, overrides=overrides).total
        for count in (1, 1000)
    )
    (teacher,) = (
        a
        for a in all_artifacts(EXPERIMENTS["smoothness"]("paper", toy, overrides=overrides).runs)
        if a.kind == "teacher"
    )
    assert price.hardware("a100").seconds(work(teacher)) < many.seconds < few.seconds


def test_a_plan_reads_a_data_set_once_and_downloads_nothing(toy, monkeypatch):
    from vaelib.runs.stages import data as stage

    asked = []
    load = stage.load_dataset
    monkeypatch.setattr(stage, "load_dataset", lambda *a, **k: asked.append(k) or load(*a, **k))
    with reading_once():
        for _ in range(3):
            resolve_data(toy, 40, 16)
    assert len(asked) == 1
    assert asked[0]["download"] is False
    resolve_data(toy, 40, 16)
    assert len(asked) == 2


def test_a_published_data_set_that_is_not_there_is_planned_at_its_published_size(monkeypatch, tmp_path):
    monkeypatch.setenv("VAELIB_DATA", str(tmp_path))
    with reading_once():
        absent = resolve_data("cifar10")
    assert (absent.n_train, absent.n_test, absent.channels) == (50_000, 10_000, 3)
    assert "not here yet" in absent.label
    with reading_once(), pytest.raises(VaelibError, match="unknown"):
        resolve_data("cifar11")


def test_an_experiment_that_cannot_be_planned_is_named_with_its_reason(toy):
    chosen = {name: EXPERIMENTS[name] for name in ("smoothness", "limited_k")}
    plan = planning.make_plan(
        chosen, price.this_machine(quick=True), "smoke", toy, overrides={"n_train": 40, "n_test": 16, "k": 1}
    )
    assert "k_grid reaches 2" in plan.skipped["limited_k"]
    assert "not planned: limited_k" in planning.format_plan(plan)
    with pytest.raises(VaelibError, match="k_grid reaches 2"):
        planning.make_plan({"limited_k": EXPERIMENTS["limited_k"]}, plan.machine, "smoke", toy,
                           overrides={"n_train": 40, "n_test": 16, "k": 1})  # fmt: skip


def test_make_all_leaves_out_what_the_paper_has_for_one_network_alone():
    assert wanted("fashion_mnist", "default") == list(studies().values())
    left_out = {*studies()} - {study.name for study in wanted("binary_mnist", "default")}
    assert left_out == {study.name for study in studies().values() if study.sweep}
    of_mixtures = {*studies()} - {study.name for study in wanted("fashion_mnist", "mol")}
    many = {"regularisers", "ladder", "memorisation", "halves"}  # which train many VAEs, or teachers
    assert of_mixtures - many == left_out
    assert "calibrate_protocol" not in {study.name for study in wanted("somewhere.npz", "gaussian")}


# --- calibration --------------------------------------------------------------------------------------------------


def test_a_calibration_measures_every_kind_and_prices_stand_on_it(monkeypatch):
    monkeypatch.setattr(calibrate, "SECONDS", 0.01)
    monkeypatch.setattr(calibrate, "IMAGES", 64)
    assert price.measured() is None
    rates = calibrate.calibrate()
    assert set(rates) == set(price.RATES)
    assert all(math.isfinite(rate) and rate > 0 for rate in rates.values())
    assert price.measured() == rates
    bank = Bank(teacher=Teacher(data=CIFAR))
    assert price.cost(bank) == pytest.approx(work(bank).sampling / rates["sampling"])
    kept = json.loads(price.calibration_file().read_text())
    price.calibration_file().write_text(json.dumps(kept | {"machine": {"device": "another"}}))
    assert price.measured() is None


def test_a_gpu_is_calibrated_on_large_networks_and_on_small_ones_that_wait(monkeypatch):
    """Without a GPU: tiny networks in both places, through the same code."""
    monkeypatch.setattr(calibrate, "SECONDS", 0.01)
    monkeypatch.setattr(calibrate, "IMAGES", 64)
    size = calibrate.Sizes(hidden=16, nc=4, width=8, batch=16, trained=2, sampled=2, mixtures=1)
    found = calibrate.rates_of(torch.device("cpu"), size, waits=True)
    assert set(found) == {*price.RATES, *price.WAITS} < set(price.Machine._fields)
    assert all(math.isfinite(value) and value > 0 for value in found.values())
    assert max(found[wait] for wait in price.WAITS) < 1e-2  # seconds a kernel


PLANNED = {  # rows of docs/machines.md
    "FashionMNIST": ("fashion_mnist", "default"),
    "BinaryMNIST": ("binary_mnist", "default"),
    "FashionMNIST, mixture of logistics": ("fashion_mnist", "mol"),
    "CIFAR-10": ("cifar10", "default"),
    "FashionMNIST, A100": ("fashion_mnist", "default"),
    "CIFAR-10, A100": ("cifar10", "default"),
}


@pytest.mark.parametrize("row", PLANNED)
def test_the_documentation_has_what_the_plan_says_of_a_gpu(row, monkeypatch, tmp_path):
    monkeypatch.setenv("VAELIB_DATA", str(tmp_path))  # nothing is here: sizes as published
    dataset, likelihood = PLANNED[row]
    functions = {study.name: study.runs for study in wanted(dataset, likelihood) if study.runs}
    cells = []
    for together in (False, True):
        card = price.hardware("a100" if row.endswith("A100") else "h100", together=together)
        plan = planning.make_plan(functions, card, "gpu", dataset, likelihood, store=Store(tmp_path))
        assert not plan.skipped
        cells += [duration(seconds) for seconds in (plan.figures["three_gaps"].seconds, plan.total.seconds)]
    assert f"| {row} | {' | '.join(cells)} |" in (ROOT / "docs/machines.md").read_text(encoding="utf-8")


def test_the_command_prints_a_table_or_json(toy):
    command = ["plan", "--dataset", toy, "--quick", "--set", "n_train=40"]
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    plan = json.loads(done.stdout)
    assert set(plan["figures"]) == {study.name for study in wanted(toy, "default") if study.runs}
    assert len(plan["figures"]) > 10
    assert plan["total"]["made"] == 0
    assert plan["total"]["bytes"] > 0
    with pytest.raises(VaelibError, match="choose one of a100"):
        CliRunner().invoke(app, [*command[:3], "--hardware", "abacus"], catch_exceptions=False)
