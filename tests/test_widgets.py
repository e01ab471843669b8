"""The explorers without a kernel: a slider moves, the picture changes and comes back, nothing trains."""

import ipywidgets
import numpy as np
import pytest
import torch

from vaelib import runs
from vaelib.errors import VaelibError
from vaelib.gaps import attack_encoder, ms_ssim
from vaelib.models import FullyConnectedVAE
from vaelib.report import smoothness
from vaelib.report.curve_picture import smoothed
from vaelib.report.frames import AttackPicture, TraversalPicture, informative_latents
from vaelib.report.widgets import attack_explorer, curve_explorer, interpolation_explorer, traversal_explorer
from vaelib.tasks.interpolation import interpolate


@pytest.fixture(scope="module")
def vaes():
    torch.manual_seed(0)
    return {method: FullyConnectedVAE(d_z=3, hidden=16).eval() for method in ("normal", "dmaapx")}


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def parts(box, kind):
    """Return the widgets of a kind inside a panel, in order."""
    children = getattr(box, "children", ())
    return [one for child in children for one in ([child] if isinstance(child, kind) else []) + parts(child, kind)]


def moved(slider, value, panel):
    """Return the panel's pictures before, at ``value``, and back at the slider's old place."""
    old, pictures = slider.value, [bytes(panel.value)]
    for place in (value, old):
        slider.value = place
        pictures.append(bytes(panel.value))
    return pictures


def assert_answers(box, values):
    """Each slider's value changes the last picture, and the old value brings the old picture back."""
    *_, panel = parts(box, ipywidgets.Image)
    sliders = parts(box, (ipywidgets.FloatSlider, ipywidgets.IntSlider, ipywidgets.SelectionSlider))
    for slider, value in zip(sliders, values, strict=True):
        before, there, back = moved(slider, value, panel)
        assert before.startswith(b"\x89PNG")
        assert there != before == back


@pytest.mark.parametrize(
    ("explorer", "values"),
    [(interpolation_explorer, [0.8]), (traversal_explorer, [1, 1.5]), (attack_explorer, [0.02, 5])],
)
def test_a_slider_moves_the_picture_and_trains_nothing(vaes, images, explorer, values):
    before = {method: [p.clone() for p in vae.parameters()] for method, vae in vaes.items()}
    box = explorer(vaes, images)
    assert_answers(box, values)
    strip, *_, panel = parts(box, ipywidgets.Image)
    row, picture = strip.value, panel.value
    parts(box, ipywidgets.ToggleButtons)[0].value = 2
    assert strip.value != row
    assert panel.value != picture
    for method, vae in vaes.items():
        assert all(torch.equal(*both) for both in zip(before[method], vae.parameters(), strict=True))
        assert not vae.training


@pytest.mark.parametrize("explorer", [interpolation_explorer, traversal_explorer, attack_explorer])
def test_play_and_slider_are_one(vaes, images, explorer):
    box = explorer(vaes, images)
    (play,), (slider, *_) = parts(box, ipywidgets.Play), parts(box, ipywidgets.FloatSlider)
    for stop in (0, play.max, 3):
        play.value = stop
        assert slider.value == pytest.approx(slider.min + stop * (slider.max - slider.min) / play.max)
    slider.value = slider.max
    assert play.value == play.max


def test_the_same_image_twice_is_told(vaes, images):
    box = interpolation_explorer(vaes, images, alphas=11, samples=2)
    (one, two), *_, note = parts(box, ipywidgets.ToggleButtons), *parts(box, ipywidgets.HTML)
    *_, panel = parts(box, ipywidgets.Image)
    picture = panel.value
    two.value = one.value
    assert "same image" in note.value
    assert panel.value == picture
    two.value = 3
    assert note.value == ""
    assert panel.value != picture
    with pytest.raises(VaelibError, match="at least two"):
        interpolation_explorer(vaes, images[:1])


def test_the_attack_shown_is_the_library_s(vaes, images):
    shown = AttackPicture(vaes, images[1], radii=[0.0, 0.1], steps=6, every=3, index=9)
    for method, vae in vaes.items():
        clean, attacked, after, similarity = shown.measured[method]
        x_a = attack_encoder(vae, images[1:2], radius=0.1, steps=6, restarts=1, indices=[9])[0]
        torch.testing.assert_close(attacked[1, 2], x_a[0])
        with torch.no_grad():
            again = vae.likelihood.mean(vae.decode(vae.encode(x_a).mu)).clamp(0, 1)
        torch.testing.assert_close(after[1, 2], again[0])
        pairs = ((images[1:2], x_a), (clean.unsqueeze(0), again))
        np.testing.assert_allclose(similarity[:, 1, 2], [float(ms_ssim(*pair)) for pair in pairs], rtol=1e-4)
        np.testing.assert_allclose(similarity[:, 0], 1.0, rtol=1e-5)  # radius 0 changes nothing


def test_a_traversal_moves_one_latent_alone(vaes, images):
    vae, orders = vaes["normal"], {"normal": torch.tensor([2, 0, 1])}
    shown = TraversalPicture({"normal": vae}, images[0], orders, stops=5, reach=2)
    with torch.no_grad():
        z = vae.encode(images[:1]).mu
        z[0, 2] = -1.0
        expected = vae.likelihood.mean(vae.decode(z))[0]
    torch.testing.assert_close(shown.images("normal", 0)[1], expected)


def test_latents_are_ranked_by_their_kl():
    vae = FullyConnectedVAE(d_z=3, hidden=8)
    with torch.no_grad():
        vae.encoder[-1].weight.zero_()
        vae.encoder[-1].bias.copy_(torch.tensor([0.5, 0.0, -3.0, 0.5, 0.5, 0.5]))
    assert informative_latents(vae, torch.rand(4, 1, 32, 32)).tolist() == [2, 0, 1]


def test_smoothing_keeps_a_constant_and_weights_the_past():
    assert smoothed(np.full(5, 3.0), 0.9) == pytest.approx(3.0)
    values = np.array([1.0, 5.0, 2.0])
    assert smoothed(values, 0.0).tolist() == values.tolist()
    assert smoothed(values, 0.5)[-1] == pytest.approx((2 + 0.5 * 5 + 0.25 * 1) / 1.75)


TINY = {"n_train": 20, "n_test": 20, "seeds": 1, "epochs": 4, "evaluations": 4, "hidden": 8}


@pytest.fixture
def mine(tmp_path):
    path, draws = str(tmp_path / "mine.npz"), np.random.default_rng(0)
    np.savez(path, images=draws.integers(0, 256, (120, 32, 32), dtype=np.uint8), labels=np.arange(120) % 3)
    return path


def test_curves_come_from_the_store_and_a_missing_vae_names_its_command(mine):
    with pytest.raises(VaelibError, match="run `make`"):
        curve_explorer()
    experiment = runs.three_gaps("smoke", mine, overrides=TINY)
    with pytest.raises(
        VaelibError, match=rf"vaelib run three_gaps --profile smoke --dataset {mine} --likelihood gaussian"
    ):
        smoothness.trained_vaes(experiment)
    normal = [point.vae for point in experiment.points if point.series == "normal"]
    runs.run(normal, workers=0)
    assert list(smoothness.trained_vaes(experiment, methods=["normal"])) == ["normal"]
    box = curve_explorer()
    assert_answers(box, [0.9])
    *_, panel = parts(box, ipywidgets.Image)
    for control, value in ((ipywidgets.Checkbox, True), (ipywidgets.Dropdown, "elbo_train")):
        picture = panel.value
        parts(box, control)[0].value = value
        assert panel.value != picture
    (label,) = parts(box, ipywidgets.SelectMultiple)[0].options
    assert label.startswith(f"Normal training · seed 0 · {experiment.dataset} gaussian · N = 20 · 4 epochs")
    (store := runs.Store()).folder(normal[0]).joinpath("manifest.json").write_text("{}")
    with pytest.raises(VaelibError, match="no VAE has been trained yet"):
        curve_explorer(store)


def test_the_curves_shown_first_differ_in_their_method_alone(mine):
    for epochs, series in ((1, ("normal",)), (2, ("normal", "aug_naive"))):
        experiment = runs.three_gaps("smoke", mine, overrides=TINY | {"epochs": epochs})
        runs.run([point.vae for point in experiment.points if point.series in series], workers=0)
    (box,) = parts(curve_explorer(), ipywidgets.SelectMultiple)
    assert len(box.options) == 3
    assert [name.split(" · ")[0] for name in box.value] == ["Normal training", "Aug.Naive"]
    assert all(name.endswith("2 epochs") for name in box.value)


def test_a_path_picture_says_the_mean_log_density(vaes, images):
    from vaelib.report.frames import PathPicture

    paths = {name: interpolate(vae, images[0], images[1], alphas=5, samples=3) for name, vae in vaes.items()}
    picture = PathPicture(paths)
    picture.move(2)
    said = float(picture.titles[0].get_text().split(": ")[1].split()[0].replace("−", "-").replace(",", ""))
    assert said == pytest.approx(float(paths["normal"].mean[2]), rel=0.01)
    assert len(list(picture.frames())) == len(picture.axes[0][1]) == 5
