"""Teachers and sample sets of others: exact on Gaussian data, checked, pinned, and a run of the whole comparison."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.small import TINY
from vaelib import runs
from vaelib.errors import VaelibError
from vaelib.models.pretrained import VPDenoiser, load_pretrained, noise_scale
from vaelib.runs import Data, Profile, Store
from vaelib.runs.external import pretrained_for, samples_for, source_of_samples
from vaelib.runs.stages import load_teacher, make
from vaelib.samplers import heun_sample
from vaelib.samplers.bank import Bank as BankImages
from vaelib.samplers.published import draw_samples, open_samples
from vaelib.studies.sweeps.runs import teacher_fractions
from vaelib.studies.three_gaps.runs import three_gaps

torch.set_num_threads(1)
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
SIGMAS = noise_scale((1 - BETAS).cumprod(0))
GREY = Data(name="toy", n_train=4, n_test=2, label="toy", digest="0", channels=1)


class ExactNoise(nn.Module):
    """E[n | √ᾱ y + √(1 − ᾱ) n] for y ~ N(0, s²), at every time, whole or not."""

    def __init__(self, s: float):
        super().__init__()
        self.s = s

    def forward(self, inputs, t):
        after = t.double().floor().long().clamp(max=len(SIGMAS) - 2)
        logs = torch.lerp(SIGMAS.log()[after], SIGMAS.log()[after + 1], t.double() - after)
        kept = (1 / (1 + (2 * logs).exp())).view(-1, 1, 1, 1)
        return (1 - kept).sqrt() * inputs / (kept * self.s**2 + 1 - kept)


@pytest.mark.parametrize("s", [0.5, 1.7])
def test_an_exact_noise_predictor_becomes_the_exact_denoiser(s):
    """E[y | x] = s² / (s² + σ²) x for y ~ N(0, s²)."""
    sigma = torch.logspace(-1.9, 2.1, 40, dtype=torch.float64)
    x = torch.randn(40, 1, 4, 4, dtype=torch.float64) * (s**2 + sigma**2).sqrt().view(-1, 1, 1, 1)
    expected = (s**2 / (s**2 + sigma**2)).view(-1, 1, 1, 1) * x
    torch.testing.assert_close(VPDenoiser(ExactNoise(s), SIGMAS)(x, sigma), expected, rtol=1e-4, atol=1e-4)


def test_heun_on_it_draws_what_it_draws_from_the_exact_denoiser():
    def exact(x, sigma):
        return x * (0.25 / (0.25 + sigma**2)).view(-1, 1, 1, 1)

    noise = torch.randn(50, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (heun_sample(d, noise, sigma_min=0.01) for d in (VPDenoiser(ExactNoise(0.5), SIGMAS), exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_time_inverts_the_schedule_and_stays_inside_it():
    denoiser = VPDenoiser(nn.Identity(), SIGMAS)
    torch.testing.assert_close(denoiser.time(SIGMAS), torch.arange(1000.0), atol=1e-3, rtol=0)
    assert denoiser.time(torch.tensor([1e-4, 1e4])).tolist() == [0, 999]
    assert SIGMAS[0] == pytest.approx(0.01, rel=0.01)
    assert SIGMAS[-1] == pytest.approx(157, rel=0.01)


# --- diffusers folders --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a tiny model of grey images, as diffusers saves it."""
    from diffusers import DDPMScheduler, UNet2DModel

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    shape = {
        "sample_size": 32,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 8),
        "layers_per_block": 1,
    }
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "norm_num_groups": 4}
    UNet2DModel(**shape, **blocks, add_attention=False).save_pretrained(folder)
    DDPMScheduler(num_train_timesteps=500, beta_schedule="squaredcos_cap_v2").save_pretrained(folder)
    return folder


def copy(model, folder, **config):
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | config))
    return folder


def profile(**values):
    return Profile(name="smoke", **values)


def test_a_saved_model_is_read_with_its_own_schedule(model):
    from diffusers import DDPMScheduler, UNet2DModel

    denoiser = load_pretrained(model)
    kept = DDPMScheduler.from_pretrained(model).alphas_cumprod.double()
    t, unet = 120, UNet2DModel.from_pretrained(model).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        noise = unet(x * kept[t].sqrt().float(), t).sample  # x̃ = √ᾱ x
        ours = denoiser(x, ((1 - kept[t]) / kept[t]).sqrt().float().expand(2))
    y = (x * kept[t].sqrt() - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()  # DDPM's estimate of y
    torch.testing.assert_close(ours, y.float(), rtol=1e-3, atol=1e-3)


def test_a_pipelines_folder_is_the_same_model(model, tmp_path):
    pipeline = tmp_path / "pipeline"
    (pipeline / "unet").mkdir(parents=True)
    (pipeline / "scheduler").mkdir()
    for path in model.iterdir():
        inside = "scheduler" if path.name.startswith("scheduler") else "unet"
        (pipeline / inside / path.name).write_bytes(path.read_bytes())
    ours, theirs = load_pretrained(pipeline).state_dict(), load_pretrained(model).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    one, other = (pretrained_for(GREY, profile(teacher_from=str(folder))) for folder in (pipeline, model))
    assert (one.sha256, one.shape) == (other.sha256, other.shape)


def test_the_key_is_what_the_model_is_not_where_it_lies(model, tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
    folders = [copy(model, tmp_path / parent / "model") for parent in ("a", "b")]
    keys = {pretrained_for(GREY, profile(teacher_from=str(folder))).key for folder in folders}
    assert len(keys) == 1
    schedule = json.loads((folders[1] / "scheduler_config.json").read_text()) | {"beta_end": 0.03}
    (folders[1] / "scheduler_config.json").write_text(json.dumps(schedule))
    keys.add(pretrained_for(GREY, profile(teacher_from=str(folders[1]))).key)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"in_channels": 3}, "3 channels in"),
        ({"sample_size": 64}, "images of size 64"),
        ({"num_class_embeds": 10}, "unconditional"),
        ({"_class_name": "UNet2DConditionModel"}, "unconditional"),
    ],
)
def test_a_model_of_other_images_is_refused(model, tmp_path, config, message):
    with pytest.raises(VaelibError, match=message):
        pretrained_for(GREY, profile(teacher_from=str(copy(model, tmp_path / "other", **config))))


@pytest.mark.parametrize(
    ("config", "schedule", "message"),
    [
        ({}, {"prediction_type": "v_prediction"}, "prediction_type is v_prediction, and only epsilon is read"),
        ({}, {"prediction_type": "sample"}, "prediction_type is sample"),
        (
            {},
            {"_class_name": "ScoreSdeVeScheduler"},
            "scheduler is ScoreSdeVeScheduler, and only DDPMScheduler or DDIM",
        ),
        ({}, {"_class_name": "EDMEulerScheduler"}, "scheduler is EDMEulerScheduler"),
        ({}, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "scheduler is FlowMatchEuler"),
        ({}, {"_class_name": None}, "scheduler is None"),
        ({}, {"beta_schedule": "exponential"}, "beta_schedule is exponential, and only linear or"),
        ({}, {"rescale_betas_zero_snr": True}, "ends in noise alone"),
        ({"time_embedding_type": "fourier"}, {}, "time_embedding_type is fourier, and only positional"),
        ({"time_embedding_type": "learned"}, {}, "time_embedding_type is learned"),
        ({"center_input_sample": True}, {}, "center_input_sample is True"),
    ],
)
def test_another_parametrisation_is_refused(model, tmp_path, config, schedule, message):
    """At once, by name, and by the function that reads the network too: each was once taken for a DDPM."""
    folder = copy(model, tmp_path / "other", **config)
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | schedule))
    with pytest.raises(VaelibError, match=message) as error:
        make(pretrained_for(GREY, profile(teacher_from=str(folder))), Store(tmp_path / "store"))
    assert "\n" not in str(error.value)
    with pytest.raises(VaelibError, match=message):
        load_pretrained(folder)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler"])
def test_what_ddpms_are_saved_with_is_read(model, tmp_path, name):
    import diffusers

    folder = copy(model, tmp_path / "other")
    getattr(diffusers, name)(num_train_timesteps=500, beta_schedule="squaredcos_cap_v2").save_pretrained(folder)
    assert torch.equal(load_pretrained(folder).log_sigmas, load_pretrained(model).log_sigmas)


WEIGHTS = "diffusion_pytorch_model.safetensors"


def renamed(folder, change):
    """Write the folder's weights under other names: ``change(tensors)``."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "conv_in.bias"}, r": 1 missing \(conv_in.bias\): save"),
        (lambda t: t | {"more": torch.zeros(2)}, r": 1 unexpected \(more\): save"),
        (
            lambda t: {f"net.{k}": v for k, v in t.items()},
            r" missing \(conv_in.bias, .* more\); .* unexpected \(net.conv_in",
        ),
        (
            lambda t: {f"module.{k}": v for k, v in t.items()} | {"n_averaged": torch.tensor(3)},
            r"unexpected \(module.*\): save the state_dict of the network inside its DistributedDataParallel",
        ),
        (lambda t: t | {"conv_in.bias": torch.zeros(1)}, r": 1 of another shape or type \(conv_in.bias\): save"),
        (lambda t: t | {"conv_in.bias": torch.zeros(8, dtype=torch.int8)}, "1 of another shape or type"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused_and_nothing_is_published(model, tmp_path, change, message):
    """One name missing was once uninitialised memory, and names under ``module.`` a network of noise."""
    folder, store = renamed(copy(model, tmp_path / "other"), change), Store(tmp_path / "store")
    settings = pretrained_for(GREY, profile(teacher_from=str(folder)))
    with pytest.raises(VaelibError, match=message) as error:
        make(settings, store)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert not store.has_manifest(settings)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."])
def test_a_wrappers_prefix_goes_where_all_names_carry_it(model, tmp_path, prefix):
    folder = renamed(copy(model, tmp_path / "other"), lambda t: {prefix + name: value for name, value in t.items()})
    ours, theirs = load_pretrained(folder).state_dict(), load_pretrained(model).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_attention_under_its_old_names_is_read_and_no_random_number_is_drawn(tmp_path):
    """As ``google/ddpm-cifar10-32`` was published; diffusers' own loader gives the same weights."""
    from diffusers import UNet2DModel

    blocks = {"down_block_types": ("AttnDownBlock2D",), "up_block_types": ("AttnUpBlock2D",), "norm_num_groups": 4}
    shape = {"sample_size": 32, "in_channels": 1, "out_channels": 1, "block_out_channels": (8,), "layers_per_block": 1}
    UNet2DModel(**shape, **blocks).save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(tensors):
        for new, name in old.items():
            tensors = {k.replace(f".{new}.", f".{name}."): v for k, v in tensors.items()}
        return tensors

    assert any(".query." in name for name in older(load_file(tmp_path / WEIGHTS)))
    renamed(tmp_path, older)
    theirs, before = UNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).state_dict(), torch.get_rng_state()
    ours = load_pretrained(tmp_path).network.unet.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_average_of_the_weights_goes_before_the_last_ones_and_that_is_said(model, tmp_path, capsys):
    """A checkpoint of diffusers' training script: ``unet``, ``unet_ema``, and here the pipeline's schedule."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("unet", "unet_ema"):
        (copy(model, folder / name) / "scheduler_config.json").unlink()
    renamed(folder / "unet_ema", lambda t: {name: value + 1 for name, value in t.items()})
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_bytes((model / "scheduler_config.json").read_bytes())
    raw, average = load_file(folder / "unet" / WEIGHTS), load_file(folder / "unet_ema" / WEIGHTS)
    store = Store(tmp_path / "store")
    for source, weights in ((folder, average), (folder / "unet_ema", average), (folder / "unet", raw)):
        settings = pretrained_for(GREY, profile(teacher_from=str(source)))
        make(settings, store)
        denoiser = load_teacher(settings, store, torch.device("cpu"))
        assert all(torch.equal(value, weights[name]) for name, value in denoiser.network.unet.state_dict().items())
        assert len(denoiser.log_sigmas) == 500  # the pipeline's schedule, not DDPM's 1,000 steps
        said = capsys.readouterr().out
        assert ("unet_ema is taken, the average of the weights" in said) == (source == folder)
        assert ("its unet_ema" in source_of_samples(profile(teacher_from=str(source)))) == (source == folder)


def test_a_missing_schedule_is_said(model, tmp_path, capsys):
    folder = copy(model, tmp_path / "other")
    (folder / "scheduler_config.json").unlink()
    make(pretrained_for(GREY, profile(teacher_from=str(folder))), Store(tmp_path / "store"))
    assert "other has no scheduler_config.json: DDPM's schedule is taken" in capsys.readouterr().out


@pytest.mark.parametrize("absent", [True, False])
def test_a_schedule_that_was_not_reached_is_not_taken_for_none(model, tmp_path, monkeypatch, capsys, absent):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    hub = copy(model, tmp_path / "hub")
    (hub / "scheduler_config.json").unlink()

    def download(repo, name, revision):
        if name == "scheduler_config.json":
            raise EntryNotFoundError("404") if absent else LocalEntryNotFoundError("no route to host")
        return str(hub / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    pinned = pretrained_for(GREY, profile(teacher_from=str(model))).sha256
    options = {"teacher_from": "owner/name", "teacher_revision": "a" * 40, "teacher_sha256": pinned}
    settings, store = pretrained_for(GREY, profile(**options)), Store(tmp_path / "store")
    if absent:
        make(settings, store)
        assert "owner/name has no scheduler_config.json: DDPM's schedule is taken" in capsys.readouterr().out
    else:
        with pytest.raises(VaelibError, match=r"no route to host.*set teacher_from to it"):
            make(settings, store)


def test_weights_are_pinned(model, tmp_path):
    with pytest.raises(VaelibError, match="fetch them again"):
        pretrained_for(GREY, profile(teacher_from=str(model), teacher_sha256="0" * 64))
    folder = copy(model, tmp_path / "model")
    settings, store = pretrained_for(GREY, profile(teacher_from=str(folder))), Store(tmp_path / "store")
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(VaelibError, match="SHA-256"):
        make(settings, store)


def test_a_hub_id_must_be_pinned_and_an_unreached_hub_says_what_to_download(tmp_path, monkeypatch):
    import huggingface_hub

    name = "google/ddpm-cifar10-32"
    with pytest.raises(VaelibError, match="set teacher_revision to the 40 digits"):
        pretrained_for(GREY, profile(teacher_from=name))
    with pytest.raises(VaelibError, match="no such folder"):
        pretrained_for(GREY, profile(teacher_from="not there/at/all"))
    settings = pretrained_for(GREY, profile(teacher_from=name, teacher_revision="a" * 40, teacher_sha256="b" * 64))

    def unreached(*_, **__):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreached)
    with pytest.raises(VaelibError, match=r"no route to host.*download config\.json.*set teacher_from to it") as error:
        make(settings, Store(tmp_path))
    assert "\n" not in str(error.value)


def test_a_hub_model_comes_at_its_commit(model, tmp_path, monkeypatch):
    import huggingface_hub

    pinned = pretrained_for(GREY, profile(teacher_from=str(model))).sha256
    options = {"teacher_from": "owner/name", "teacher_revision": "a" * 40, "teacher_sha256": pinned}
    asked = []

    def download(repo, name, revision):
        asked.append((repo, revision))
        return str(model / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    store, settings = Store(tmp_path), pretrained_for(GREY, profile(**options))
    make(settings, store)
    assert set(asked) == {("owner/name", "a" * 40)}
    assert len(load_teacher(settings, store, torch.device("cpu")).log_sigmas) == 500


# --- sample sets --------------------------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path):
    """Return an .npz that is sorted by class: image i is of class i // 30, and says its number in two pixels."""
    images = np.zeros((300, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(300) // 30, np.arange(300) % 30
    images[:, 5, 6, 2] = 200
    path = tmp_path / "1m.npz"
    np.savez_compressed(path, image=images, label=np.arange(300) // 30)
    return path


def drawn(path, n, **options):
    out = np.empty((n, 3, 32, 32), np.uint8)
    draw_samples(open_samples(path), out, **options)
    return out


def test_images_are_drawn_from_all_of_the_file(samples):
    images = drawn(samples, 100)
    classes, numbers = images[:, 0, 0, 0], images[:, 0, 0, 0].astype(int) * 30 + images[:, 0, 0, 1]
    assert len(set(classes.tolist())) == 10
    assert len(set(numbers.tolist())) == 100
    assert (images[:, 2, 5, 6] == 200).all()
    assert np.array_equal(drawn(samples, 40), images[:40])
    assert not np.array_equal(drawn(samples, 100, seed=1), images)
    assert set(np.unique(drawn(samples, 300, binarize=True))) == {0, 255}


def test_it_is_a_bank_like_any_other_and_its_caveat_is_told(samples, tmp_path):
    data = Data(name="cifar10", n_train=50, n_test=2, label="toy", digest="0", channels=3)
    budget = profile(bank_from=str(samples), k=2)
    settings, store = samples_for(data, budget, binarize=False), Store(tmp_path / "store")
    make(settings, store)
    assert np.array_equal(BankImages(store.require(settings)).images().numpy(), drawn(samples, 100))
    assert "filtered" in source_of_samples(budget)
    with pytest.raises(VaelibError, match="enough for k = 6"):
        samples_for(data, profile(bank_from=str(samples), k=7), binarize=False)
    with pytest.raises(VaelibError, match="3 channels"):
        samples_for(GREY, budget, binarize=False)


def test_a_damaged_or_foreign_file_is_refused(samples, tmp_path):
    content = bytearray(samples.read_bytes())
    content[400] ^= 255
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    with pytest.raises(VaelibError, match=r"damaged array|something else"):
        drawn(damaged, 100)
    np.savez(tmp_path / "floats.npz", image=np.zeros((3, 32, 32, 3)))
    with pytest.raises(VaelibError, match="float64"):
        open_samples(tmp_path / "floats.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("label.npy", b"")
    with pytest.raises(VaelibError, match=r"label\.npy"):
        open_samples(tmp_path / "other.npz")
    with pytest.raises(VaelibError, match="no such file"):
        open_samples(tmp_path / "none.npz")
    np.savez(tmp_path / "both.npz", image=np.zeros((3, 32, 32), np.uint8), images=np.ones((3, 32, 32), np.uint8))
    with pytest.raises(VaelibError, match=r"holds image\.npy, images\.npy, must be an \.npz with one array image"):
        open_samples(tmp_path / "both.npz")


@pytest.mark.parametrize("binarize", [False, True])
def test_samples_of_0_and_1_are_no_black_images(tmp_path, binarize):
    np.savez(tmp_path / "bits.npz", image=np.eye(32, dtype=np.uint8)[None, ..., None].repeat(9, 0).repeat(3, 3))
    with pytest.raises(VaelibError, match=r"bits\.npz holds only 0 and 1"):
        drawn(tmp_path / "bits.npz", 4, binarize=binarize)


# --- the whole comparison -----------------------------------------------------------------------------------------


def test_dmaapx_needs_no_teacher_of_its_own(model, toy, tmp_path):
    """The .npz of the samples and the diffusers folder, through every stage on a toy data set."""
    rng, others = np.random.default_rng(0), tmp_path / "others.npz"
    np.savez(others, image=rng.integers(0, 200, (90, 32, 32)).astype(np.uint8))
    for source in ({"teacher_from": str(model)}, {"bank_from": str(others)}):
        chosen = three_gaps("smoke", toy, overrides=TINY | source)
        wanted = [run for run in chosen.runs if run.vae.method == "dmaapx"]
        store = Store(tmp_path / "store")
        runs.run(wanted, store=store, workers=0)
        assert not list((store.root / "teacher").glob("*"))
        assert all(store.has(run) for run in wanted)
    with pytest.raises(VaelibError, match="unset teacher_from"):
        teacher_fractions("smoke", toy, overrides=TINY | {"teacher_from": str(model), "k": 2})
