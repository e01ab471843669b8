"""The ground floor: named randomness, whole-or-absent files, progress for people and for logs."""

import os

import pytest
import torch

from vaelib import cli, data, files, gaps, models, progress, rng, runs, tasks
from vaelib.data.corruptions import corrupt
from vaelib.errors import VaelibError
from vaelib.precision import bf16_pays
from vaelib.report import reference
from vaelib.runs.cost import price
from vaelib.studies.sweeps import paper as sweep_numbers

IMAGES = torch.zeros(1, 1, 32, 32)


def test_draws_depend_on_seed_purpose_and_index_alone():
    first = rng.normal((5,), 0, "noise", 3)
    rng.normal((100,), 0, "noise", 4)
    assert torch.equal(first, rng.normal((5,), 0, "noise", 3))
    others = [rng.normal((5,), 1, "noise", 3), rng.normal((5,), 0, "other", 3), rng.normal((5,), 0, "noise", 2)]
    assert not any(torch.equal(first, other) for other in others)


def test_a_seeded_block_leaves_all_generators_as_they_were(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's generator was seeded"))
    before = torch.get_rng_state()
    with rng.seeded(3, "vae"):
        drawn = torch.randn(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.randn(4, generator=rng.generator(3, "vae")))


def test_derived_seeds_are_pinned():
    """Golden: `printf 0/bank/7 | b2sum -l 64`, little-endian, halved; another value would make every bank another."""
    assert rng.derive(0, "bank", 7) == 6736024838340226589


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})

    def full(part):
        part.write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(VaelibError, match="No space left on device; free or change the disk"):
        files.write_atomic(path, full)
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert os.listdir(tmp_path) == ["a.json"]


def test_headless_progress_is_a_few_lines_with_the_time_left(monkeypatch, capsys):
    clock = iter(float(second) for second in range(10_000))
    monkeypatch.setenv("VAELIB_HEADLESS", "1")
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress(300, "train", "epochs") as bar:
        for _ in range(300):
            bar.update(1, "ELBO -1")
    lines = capsys.readouterr().out.splitlines()
    assert 5 <= len(lines) <= 20
    assert lines[0].startswith("train: ")
    assert "epochs at 1.0 epochs/s" in lines[0]
    assert lines[0].endswith("left (ELBO -1)")


def test_a_notebook_gets_a_bar_and_a_log_does_not(monkeypatch):
    from tqdm.notebook import tqdm_notebook

    monkeypatch.delenv("VAELIB_HEADLESS", raising=False)
    assert progress.Progress(3, "train").bar is None  # no terminal here
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    with progress.Progress(1000, "runs", "%") as bar:
        assert isinstance(bar.bar, tqdm_notebook)
        bar.update(250, "2 of 8 made")
        assert "runs:  25%" in str(bar.bar)
        assert "2 of 8 made" in str(bar.bar)
        assert "250/1000" not in str(bar.bar)
        bar.update(250, "4 of 8 made", left=75.0)
        assert "1 min 15 s left, 4 of 8 made" in str(bar.bar)
    monkeypatch.setenv("VAELIB_HEADLESS", "1")
    assert progress.Progress(3, "train").bar is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (75, "1 min 15 s"), (7_260, "2 h 1 min"), (float("inf"), "unknown time")]
)
def test_durations_read_well(seconds, text):
    assert progress.duration(seconds) == text


# --- precision ----------------------------------------------------------------------------------------------------


def test_bfloat16_is_left_alone_where_it_is_emulated(monkeypatch):
    """On a CPU without the instruction ``amp=True`` is float32, bit for bit: emulation is up to 16 times slower."""
    from vaelib.models import FullyConnectedVAE
    from vaelib.training import vae as loop
    from vaelib.training.distributions import TrainingDistribution

    images = torch.randint(0, 256, (8, 1, 32, 32), dtype=torch.uint8)

    def weights(amp, pays):
        monkeypatch.setattr(loop, "bf16_pays", lambda device: pays)
        torch.manual_seed(0)
        state = loop.VAEState(FullyConnectedVAE(hidden=16))
        list(loop.train_vae(state, TrainingDistribution(images, 8), epochs=2, batch_size=4, amp=amp))
        return state.vae.encoder[0].weight

    assert torch.equal(weights(True, False), weights(False, False))
    assert not torch.equal(weights(True, True), weights(False, True))


def test_what_a_cpu_says_of_itself_decides(monkeypatch):
    for answer in (True, False):
        bf16_pays.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda a=answer: {"avx512_bf16": a}, raising=False)
        assert bf16_pays("cpu") is answer
    assert not bf16_pays("mps")
    bf16_pays.cache_clear()


MISSPELT = {
    "laptop": lambda: runs.load_profile("laptp"),
    "fashion_mnist": lambda: data.load_dataset("fashion_mnits"),
    "lossless_4k": lambda: data.load_dataset("cifar10", source="lossles_4k"),
    "gaussian": lambda: runs.likelihood_of("cifar10", "gausian"),
    "bernoulli": lambda: models.build_likelihood("bernouli"),
    "sigmoid": lambda: models.Gaussian(mean="sigmoidal"),
    "pixelcnnpp": lambda: models.MixtureOfLogistics(rgb="pixelcnn"),
    "identity": lambda: models.ResidualVAE(2, 1, skip="identiti"),
    "gaussian_noise": lambda: corrupt(IMAGES, "gausian_noise", 1),
    "aug_tuned": lambda: data.augmentation("aug_tune", "cifar10"),
    "SVM-RBF": lambda: tasks.representation_accuracy(IMAGES[:, 0, 0].numpy(), range(1), "SVM-RFB"),
    "resnet18": lambda: tasks.build_network("resnet-18", 1, 2),
    "kuzina2022": lambda: gaps.ms_ssim(IMAGES, IMAGES, "kuzina202"),
    "mean": lambda: gaps.robustness_gap(models.FullyConnectedVAE(2), IMAGES, [0], reconstruction="means"),
    "raw": lambda: gaps.attack_encoder(models.FullyConnectedVAE(2), IMAGES, gradient="row"),
    "a100": lambda: price.hardware("a1000"),
    "three_gaps": lambda: cli._experiment("three_gap", "smoke", "toy", "default", None),
    "limited_k": lambda: sweep_numbers.paper_sweep("limited"),
    "fig4_right_k": lambda: reference.digitised("fig4_right"),
}


@pytest.mark.parametrize("meant", MISSPELT)
def test_a_misspelt_name_is_answered_by_all_names_and_the_nearest(meant):
    with pytest.raises(VaelibError, match=rf"; did you mean {meant}\?$") as error:
        MISSPELT[meant]()
    assert "\n" not in str(error.value)
    assert meant in str(error.value).rpartition(";")[0]
