"""Teachers that remember: exact denoisers against their definitions, snapshots, copies, and the two studies on them."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from tests.test_report import clash
from vaelib.errors import VaelibError
from vaelib.models.exact import KernelDenoiser, PatchDenoiser
from vaelib.report.claims import OURS, evaluate_claims
from vaelib.report.rules import Evidence, judge
from vaelib.runs import Bank, Data, Store, Teacher
from vaelib.runs.experiments import bank_for
from vaelib.runs.settings import Exact
from vaelib.runs.stages import load_teacher, make
from vaelib.runs.stages.context import Context
from vaelib.runs.stages.diffusion import _training_images
from vaelib.samplers import sample_images
from vaelib.studies.halves.figures import halves_figure
from vaelib.studies.halves.runs import halves
from vaelib.studies.halves.stages import EqualSeeds, ratio_of_means
from vaelib.studies.ladder.figures import ladder_figure, rungs_of
from vaelib.studies.ladder.runs import ladder
from vaelib.studies.memorisation.claims import evidence, in_proportion
from vaelib.studies.memorisation.figures import memorisation_figure
from vaelib.studies.memorisation.runs import memorisation
from vaelib.studies.memorisation.stages import Copies
from vaelib.tasks.copies import copying


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# --- exact denoisers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", [0.0, 0.4])
def test_the_exact_denoiser_is_the_posterior_mean(bandwidth):
    """By Bayes' rule over the images: E[y | x] of a mixture of Gaussians, one an image."""
    images, x, sigma = noise(5, 2, 3, 3, seed=1), noise(4, 2, 3, 3, seed=2), torch.tensor([0.3, 0.7, 1.5, 20.0])
    found = KernelDenoiser(images, bandwidth)(x, sigma)
    for point, level, mean in zip(x, sigma, found, strict=True):
        variance = level.double() ** 2 + bandwidth**2
        logs = torch.stack([-(point - one).double().square().sum() / (2 * variance) for one in images])
        each = torch.stack([one + bandwidth**2 / variance * (point - one) for one in images.double()])
        expected = (logs.softmax(0).view(-1, 1, 1, 1) * each).sum(0)
        assert torch.allclose(mean.double(), expected, atol=1e-6)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m"])
def test_samples_of_memory_are_training_images(sampler):
    train = draws(7, 1, 32, 32)
    denoiser = KernelDenoiser(train / 127.5 - 1)
    found = sample_images(denoiser, range(30), channels=1, sampler=sampler, steps=15, sigma_min=0.02)
    equal = (found[:, None] == train).flatten(2).all(2)
    assert equal.any(1).all()
    assert equal.any(0).sum() > 4  # all are about equally likely


def test_samples_of_a_kernel_density_have_its_noise():
    train = torch.full((1, 1, 32, 32), 128, dtype=torch.uint8)
    denoiser = KernelDenoiser(train / 127.5 - 1, bandwidth=2 * 0.1)
    options = {"channels": 1, "sampler": "dpmpp_2m", "steps": 40, "sigma_min": 0.01, "device": "cpu"}
    found = sample_images(denoiser, range(4), **options).float() / 255
    assert float(found.std()) == pytest.approx(0.1, rel=0.05)
    assert float(found.mean()) == pytest.approx(128 / 255, abs=0.005)


def by_definition(images: torch.Tensor, x: torch.Tensor, level: float, radius: int, shift: int) -> torch.Tensor:
    """Return D(x; σ) pixel by pixel, from the sum over images and shifts."""
    side, wide = x.shape[-1], torch.nn.functional.pad(images, (shift,) * 4, mode="replicate")
    shifts = itertools.product(range(2 * shift + 1), repeat=2)
    pool = torch.cat([wide[..., a : a + side, b : b + side] for a, b in shifts]).double()
    out = torch.zeros_like(x)
    for u, v in itertools.product(range(side), repeat=2):
        patch = (..., slice(max(0, u - radius), u + radius + 1), slice(max(0, v - radius), v + radius + 1))
        near = -(x.double()[patch] - pool[patch]).square().flatten(1).sum(1) / (2 * level**2)
        out[:, u, v] = (near.softmax(0)[:, None] * pool[:, :, u, v]).sum(0)
    return out


@pytest.mark.parametrize(("level", "radius", "shift"), [(0.1, 1, 0), (0.5, 2, 0), (0.5, 2, 1), (3.0, 12, 1)])
def test_the_denoiser_of_patches_is_its_definition(level, radius, shift):
    images, x = noise(5, 2, 7, 7, seed=1), noise(3, 2, 7, 7, seed=2)
    found = PatchDenoiser(images, reach=4.0, shift=shift)(x, torch.full((3,), level))
    for one, mean in zip(x, found, strict=True):
        assert torch.allclose(mean, by_definition(images, one, level, radius, shift), atol=2e-5)


def test_a_patch_as_large_as_the_image_is_the_image():
    images, x, sigma = noise(6, 1, 9, 9, seed=1), noise(3, 1, 9, 9, seed=2), torch.full((3,), 2.5)
    assert torch.allclose(PatchDenoiser(images)(x, sigma), KernelDenoiser(images)(x, sigma), atol=1e-5)
    double = PatchDenoiser(images)(x.double(), sigma.double())
    assert double.dtype == torch.float64
    assert torch.equal(double.float(), PatchDenoiser(images)(x, sigma))


def test_samples_of_patches_are_mosaics():
    """Two images whose left and right halves differ: four combinations, of which two are new."""
    left, right = torch.zeros(32, 32), torch.zeros(32, 32)
    left[:, :16] = right[:, 16:] = 1.0
    train = torch.stack([left + right, torch.zeros(32, 32)])[:, None] * 2 - 1
    options = {"channels": 1, "sampler": "dpmpp_2m", "steps": 15, "sigma_min": 0.02, "device": "cpu"}
    found = sample_images(PatchDenoiser(train, reach=1.0), range(12), **options).float() / 255
    assert ((found < 0.02) | (found > 0.98)).float().mean() > 0.95  # each pixel is some training image's
    assert ((found.flatten(1).mean(1) - 0.5).abs() < 0.45).any()  # no sample has to be one of them


def test_one_noise_level_at_a_time():
    with pytest.raises(ValueError, match="one noise level at a time"):
        PatchDenoiser(noise(2, 1, 8, 8))(noise(2, 1, 8, 8), torch.tensor([1.0, 2.0]))


# --- settings and snapshots ---------------------------------------------------------------------------------------------


@pytest.fixture
def data(toy):
    return ladder("smoke", toy, overrides={"n_train": 30, "n_test": 20}).data


def small(data: Data, **changes) -> Teacher:
    values = {"network": "small", "width": 8, "dropout": 0.0, "images": 40, "batch_size": 10, "lr_rampup": 20}
    return Teacher(data=data, **values | changes)


def test_a_snapshot_is_what_a_shorter_training_ends_in(data, tmp_path):
    store = Store(tmp_path / "store")
    long, short = small(data, snapshots=(20,)), small(data, images=20)
    for run in (data, long, short):
        make(run, store, "cpu")
    weights = [
        load_teacher(settings, store, torch.device("cpu"), seen).state_dict()
        for settings, seen in ((long, 20), (short, None), (long, None))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    banks = [Bank(teacher=long, snapshot=seen, size=4, steps=2, batch_size=4) for seen in (20, None)]
    again = Bank(teacher=short, size=4, steps=2, batch_size=4)
    images = [np.load(make(bank, store, "cpu") / "shard-00000.npy") for bank in (*banks, again)]
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


def test_two_teachers_of_halves_share_no_image_and_miss_none(data, tmp_path):
    store = Store(tmp_path / "store")
    make(data, store, "cpu")
    context = Context(store, tmp_path, torch.device("cpu"), lambda *_: None)
    whole = context.split(data, "train")
    halves = [_training_images(small(data, share=0.5, rest=rest), context) for rest in (False, True)]
    assert [len(half) for half in halves] == [15, 15]
    assert len(torch.cat(halves).flatten(1).unique(dim=0)) == len(whole.flatten(1).unique(dim=0)) == 30


def test_keys_are_those_of_before(data):
    """Settings that were added leave the key of whatever does not use them as it was: a hash of what is not a default."""
    plain = small(data)
    assert plain.key == small(data, snapshots=()).key != small(data, snapshots=(20,)).key
    assert "snapshot" not in Bank(teacher=plain, size=4).model_dump(exclude_defaults=True)


def test_a_bank_is_read_back_as_what_it_was(data):
    for teacher in (small(data), Exact(data=data), Exact(data=data, bandwidth=0.1), Exact(data=data, reach=4.0)):
        bank = Bank(teacher=teacher, size=4)
        assert Bank.model_validate(bank.model_dump(mode="json")).key == bank.key


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda data: small(data, snapshots=(15,)), r"snapshots = \[15\]: take multiples of batch_size = 10 below 40"),
        (lambda data: small(data, snapshots=(40,)), "below 40"),
        (lambda data: Bank(teacher=small(data), snapshot=20), r"snapshot = 20: the teacher keeps weights at \[\]"),
        (lambda data: Exact(data=data, bandwidth=0.1, reach=4.0), "either a bandwidth or a reach"),
        (lambda data: Exact(data=data, shift=1), "either a bandwidth or a reach"),
        (lambda data: small(data, rest=True), "without images; give a smaller share"),
        (
            lambda data: EqualSeeds(
                data=data, first=Bank(teacher=small(data)), second=Bank(teacher=small(data), seed=1)
            ),
            "two banks of one size and one seed",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(data, call, words):
    with pytest.raises(ValueError, match=words):
        call(data)


# --- copies -------------------------------------------------------------------------------------------------------------


def test_copies_are_found_and_new_images_are_not():
    train, new = draws(40, 1, 8, 8, seed=1), draws(50, 1, 8, 8, seed=2)
    near = (train[:10].int() + 1).clamp(0, 255).to(torch.uint8)
    found = copying(torch.cat([train[:5], near, new]), train)
    assert found.copied[:15].all()
    assert not found.authentic[:15].any()
    assert found.ratio[:5].max() == 0
    assert not found.copied[15:].any()
    assert found.authentic[15:].float().mean() > 0.5
    assert found.ratio[15:].min() > 0.5


def test_an_image_that_d_train_has_twice_is_no_copy_of_one_of_them():
    train = draws(4, 1, 8, 8)
    found = copying(train[:1], torch.cat([train, train[:1]]))
    assert found.ratio.item() == 1
    assert not found.copied.any()


def test_copies_are_sought_among_images_of_one_shape():
    with pytest.raises(VaelibError, match="images of one shape"):
        copying(draws(4, 1, 8, 8), draws(4, 3, 8, 8))


# --- the studies --------------------------------------------------------------------------------------------------------


def test_the_exact_teachers_bank_is_made_searched_and_wholly_copied(toy, tmp_path):
    chosen = ladder("smoke", toy, overrides={"n_train": 30, "n_test": 20, "sampler_steps": 30})
    store, found = Store(tmp_path / "store"), {}
    also = {point.series: point.run for point in chosen.measured(Copies)}
    for name in ("memory", "kernel_0.1"):
        for run in (chosen.data, also[name].pool.teacher, also[name].pool, also[name]):
            make(run, store, "cpu")
        found[name] = pd.read_json(store.require(also[name]) / "rows.json").iloc[0]
    assert found["memory"]["copies"] == 1
    assert found["memory"]["authentic"] == found["memory"]["distance"] == 0
    # Noise of standard deviation h on d pixels is h √d long.
    assert found["kernel_0.1"]["distance"] == pytest.approx(0.1 * math.sqrt(1024), rel=0.3)


def test_every_rung_has_its_vaes_and_the_network_is_the_profiles(toy):
    chosen = ladder("smoke", toy, overrides={"n_train": 25, "n_test": 20, "seeds": 2})
    rungs = [point.series for point in chosen.points if point.vae.seed == 1]
    assert rungs == ["normal", "memory", "kernel_0.1", "ended_4", "patches", "network_half", "network", "held_out"]
    assert len(chosen.points) == 2 * len(rungs)
    vaes = {point.series: point.vae for point in chosen.points}
    assert vaes["network"].bank == bank_for(chosen.data, chosen.profile)
    assert vaes["held_out"].held_out.size == chosen.profile.k * 25
    fewer = ladder("smoke", toy, overrides={"n_train": 30, "n_test": 20})  # 50 are left, no 60
    assert "held_out" not in {point.series for point in fewer.points}
    assert {vae.network for vae in vaes.values()} == {vaes["normal"].network}
    assert len({vae.key for vae in vaes.values()}) == len(vaes)


def test_snapshots_are_of_one_training_for_each_n(toy):
    chosen = memorisation(
        "smoke", toy, overrides={"n_test": 20, "memorisation_sizes": [20, 40], "teacher_dropout": 0.1}
    )
    banks = [point.run.pool for point in chosen.measured(Copies)]
    assert len(banks) == 4
    assert len({bank.teacher.key for bank in banks}) == 2
    assert {bank.teacher.snapshots for bank in banks} == {(200,)}
    assert {bank.teacher.lr_decay for bank in banks} == {0}  # or a snapshot would be no shorter training
    assert [bank.snapshot for bank in banks] == [200, None] * 2
    assert [bank.size for bank in banks] == [40, 40, 80, 80]


def test_halves_are_of_one_training_and_one_noise(toy):
    chosen = halves("smoke", toy, overrides={"n_test": 20})
    assert [point.x for point in chosen.points] == [20, 40]  # of 80 images no half has 60
    run = chosen.points[0].run
    assert run.first.teacher == run.second.teacher.model_copy(update={"rest": False, "seed": 0})
    assert run.second.teacher.rest
    assert run.second.teacher.seed == 1  # other first weights and draws, too
    assert run.data.n_train == 40


def test_equal_samples_are_at_no_distance_and_others_are(data, tmp_path):
    """Of the exact denoiser of a kernel density and of another: same noise, nearly the same image."""
    store = Store(tmp_path / "store")
    options = {"size": 12, "sampler": "dpmpp_2m", "steps": 12, "sigma_min": 0.02}
    banks = [Bank(teacher=Exact(data=data, bandwidth=width), **options) for width in (0.0, 0.02)]
    found = {}
    for name, pair in {"same": (banks[0], banks[0]), "near": (banks[0], banks[1])}.items():
        run = EqualSeeds(data=data, first=pair[0], second=pair[1])
        for one in (data, *(bank.teacher for bank in pair), *pair, run):
            make(one, store, "cpu")
        found[name] = pd.read_json(store.require(run) / "rows.json").iloc[0]
    assert found["same"]["apart"] == found["same"]["equal"] == 0 < found["same"]["other"]
    assert 0 < found["near"]["apart"] < 0.2


def rows(values: dict[tuple[str, float], dict[str, float]], seeds: int = 3) -> pd.DataFrame:
    """Return a table of the given values by (series, x), with a little scatter over seeds."""
    about = {"experiment": "toy", "dataset": "fashion_mnist", "likelihood": "gaussian", "source": "x", "key": "k"}
    jitter = np.random.default_rng(0)
    found = []
    for (series, x), one in values.items():
        for seed in range(seeds):
            row = {name: value * (1 + 1e-3 * jitter.standard_normal()) for name, value in one.items()}
            size = int(series.rpartition("_")[2]) if series.rpartition("_")[2].isdigit() else 300
            row |= {f"{name}_se": abs(value) * 1e-3 for name, value in one.items()}
            place = {"series": series, "x": x, "seed": seed, "n_train": size, "n_test": 100, "teacher_epochs": x / size}
            found.append(about | place | row)
    return pd.DataFrame(found)


def verdicts(table: str, values: dict) -> dict[str, str]:
    found = evaluate_claims({table: values if isinstance(values, pd.DataFrame) else rows(values)}, "laptop")
    return {row["id"].split("/")[0]: row["verdict"] for row in found if row["evidence"] == OURS and row["runs"]}


def climbing(step: float) -> dict:
    """Return a ladder whose test ELBOs go up by ``step`` from rung to rung; the lowest is normal training's own."""
    names = ["memory", "ended_4", "kernel_0.03", "kernel_0.1", "patches", "network_half", "network", "held_out"]
    found = {("normal", math.nan): {"elbo_test": -1000.0, "generalization_gap": 500.0}}
    for place, name in enumerate(names):
        own = {"elbo_test": -1000 + step * place, "generalization_gap": 500 - step * place / 3}
        found[name, math.nan] = own | {"copies": 0.3, "authentic": 0.5, "ratio": 0.8, "distance": 5.0}
    return found


def test_the_ladders_claims_follow_the_numbers():
    up, down = verdicts("ladder", climbing(100.0)), verdicts("ladder", climbing(-100.0))
    assert set(up.values()) == {"supported"}
    assert {name: verdict for name, verdict in down.items() if name != "ladder-memory"} == dict.fromkeys(
        set(up) - {"ladder-memory"}, "contradicted"
    )
    assert down["ladder-memory"] == "not_testable"  # there is no gain to compare with
    other = climbing(100.0)
    other["memory", math.nan] = other["network", math.nan]
    assert verdicts("ladder", other)["ladder-memory"] == "contradicted"


def learning(time: float, sizes=(25, 50, 100), late: float = 1.0) -> dict:
    """Return teachers whose share of copies is a function of seen / N**late, and students whose ELBO falls with it."""
    found = {}
    for size in sizes:
        own = {"elbo_test": -2000.0, "elbo_train": 1000.0, "generalization_gap": 3000.0}
        found[f"normal_{size}", math.nan] = own
        for seen in (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0):
            copies = 1 / (1 + (time * size**late / seen) ** 6)
            made = -1000.0 * copies - 1000 - 2000 * math.exp(-seen / 40)
            gap = {"copies": copies, "authentic": 1 - copies, "generalization_gap": 3000 * copies + 10}
            found[f"dmaapx_{size}", seen] = {"elbo_test": made, "elbo_train": 0.0} | gap
    return found


def test_the_claims_on_memorising_follow_the_numbers():
    expected = verdicts("memorisation", learning(8.0))
    # One teacher of each N: what another would have copied is allowed for, and that is more than a fifth.
    assert expected == dict.fromkeys(expected, "supported") | {"mem-proportion": "not_testable"}
    assert len(expected) == 6
    found = evidence(rows(learning(8.0)), "fashion_mnist", "gaussian")
    assert judge(in_proportion(found), Evidence(found.values, exact=True)).verdict == "supported"
    same_time = verdicts("memorisation", learning(400.0, late=0.0))
    assert same_time["mem-proportion"] == "contradicted"
    better = {(series, x): one | {"elbo_test": -5000 + x} for (series, x), one in learning(1e4).items()}
    never = verdicts("memorisation", better)  # no copies, and the last snapshot is the best
    assert never["mem-normal"] == "not_testable"
    assert never["mem-best"] == "not_testable"
    assert never["mem-gap"] == "not_testable"  # without copies there is nothing that would bring it back
    late = {(series, x): one | {"elbo_test": -5000 + x} for (series, x), one in learning(8.0).items()}
    assert verdicts("memorisation", late)["mem-best"] == "contradicted"
    worse = learning(8.0)
    for (series, x), one in worse.items():
        if series == "dmaapx_25" and x == 3200:
            one["elbo_test"] = -9000.0
    assert verdicts("memorisation", worse)["mem-normal"] == "contradicted"


def test_the_claims_on_halves_follow_the_numbers():
    def told(ratios):
        about = {"n_train": 100, "n_test": 10}
        values = {(f"halves_{x}", x): {"apart": ratio} for x, ratio in ratios.items()}
        return verdicts("halves", rows(values, seeds=1).assign(**about))

    assert set(told({50.0: 1.0, 500.0: 0.7, 5000.0: 0.3}).values()) == {"supported"}
    assert set(told({50.0: 0.5, 500.0: 0.7, 5000.0: 0.9}).values()) == {"contradicted"}
    assert told({50.0: 0.3})["halves-nearer"] == "not_testable"
    # Its 10 % of noise are those of 0.4, not of the half that it is compared with.
    assert told({50.0: 0.9, 500.0: 0.4})["halves-agree"] == "supported"


def test_a_bank_that_every_seed_learns_from_counts_once():
    """Three VAEs of one bank have one share of copies: its error is that over images, not that of three equal numbers."""
    same = rows(learning(8.0)).assign(copies=0.5, copies_se=0.03)
    found = evidence(same, "fashion_mnist", "gaussian")
    assert {tuple(found.values[term]) for term in found.values if term[2] == "copies"} == {(0,)}
    assert {tuple(found.values[term]) for term in found.values if term[2] == "elbo_test"} == {(0, 1, 2)}
    assert verdicts("memorisation", same)["mem-begins"] == "not_testable"


def distances(first, second):
    """Return how far apart images of one number are, and those of neighbouring numbers."""
    return np.linalg.norm(first - second, axis=1), np.linalg.norm(first - np.roll(second, 1, 0), axis=1)


def test_the_ratio_of_distances_has_the_error_of_a_ratio():
    """Repeated draws of 200 pairs: the error that is stated is the scatter of the ratio that is found."""
    draw, found = np.random.default_rng(0), []
    for _ in range(400):
        first, second = draw.standard_normal((2, 200, 6)) + draw.standard_normal((200, 6)) * 1.5
        found.append(ratio_of_means(*(torch.from_numpy(one) for one in distances(first, second))))
    values, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_figures_hold_every_rung_and_no_text_overlaps():
    frame = {"title_note": "Toy", "footer": "profile smoke · " * 14, "watermark": None}
    table = rows(climbing(100.0))
    assert rungs_of(table) == list(dict.fromkeys(name for name, _ in climbing(1.0)))
    figure = ladder_figure(table, {"memory": draws(8, 1, 32, 32), "patches": draws(3, 1, 32, 32)}, **frame)
    assert clash(figure) == []
    assert "networks" in figure.words()
    values = rows({(f"halves_{x}", x): {"apart": 1.1 - x / 100} for x in (20.0, 80.0)}, seeds=1)
    pair = {"first": draws(5, 1, 32, 32), "second": draws(5, 1, 32, 32, seed=1)}
    drawn = halves_figure(values, {"halves_20.0": pair}, **frame)
    assert clash(drawn) == []
    assert "from the same noise: from 0.90 to 0.30" in drawn.words()
    shown = memorisation_figure(rows(learning(8.0)), **frame)
    assert clash(shown) == []
    assert "N = 100, normal training: −2,00" in shown.words().replace("1,99", "2,00")
