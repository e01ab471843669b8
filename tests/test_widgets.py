"""The explorers without a kernel: a slider moves, the picture changes and comes back, nothing trains."""

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch

from tests.small import TINY
from tests.test_report import clash
from vaelib import paths, runs
from vaelib.errors import VaelibError
from vaelib.gaps import attack_encoder, ms_ssim
from vaelib.models import FullyConnectedVAE
from vaelib.report.explorers.curves import QUANTITIES, curve_explorer, curve_twin, heaviest, settled, with_gap
from vaelib.report.explorers.frames import AttackPicture, PathPicture, TraversalPicture, informative_latents
from vaelib.report.explorers.widgets import attack_explorer, interpolation_explorer, traversal_explorer
from vaelib.report.trained import trained_vaes
from vaelib.runs.tables import curve
from vaelib.studies.three_gaps.runs import three_gaps
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


def press(box, number, row=0):
    """Press the button of an image in its cell: the first below it, or the second."""
    parts(cells(box)[number], ipywidgets.ToggleButton)[row].value = True


def cells(box):
    """Return the boxes that hold one thumbnail each."""
    return [one for one in parts(box, ipywidgets.VBox) if isinstance(one.children[0], ipywidgets.Image)]


@pytest.mark.parametrize("explorer", [interpolation_explorer, traversal_explorer, attack_explorer])
def test_a_thumbnail_and_its_buttons_are_one_cell(vaes, images, explorer):
    """So no width of the page parts them; one button a row is pressed, and pressing it again leaves it so."""
    box, rows = explorer(vaes, images), 2 if explorer is interpolation_explorer else 1
    assert len(cells(box)) == len(images)
    for cell in cells(box):
        assert [type(one).__name__ for one in cell.children] == ["Picture", *["ToggleButton"] * rows]
    pressed = [[one.value for one in row] for row in zip(*(cell.children[1:] for cell in cells(box)), strict=True)]
    assert [row.index(True) for row in pressed] == list(range(rows))
    first = parts(cells(box)[0], ipywidgets.ToggleButton)[0]
    first.value = False
    assert first.value
    press(box, 3)
    assert [parts(cell, ipywidgets.ToggleButton)[0].value for cell in cells(box)] == [False, False, False, True]
    assert parts(cells(box)[3], ipywidgets.ToggleButton)[0].description in ("x", "x₀")


@pytest.mark.parametrize("explorer", [interpolation_explorer, traversal_explorer, attack_explorer])
def test_every_picture_of_an_explorer_has_an_alternative_text(vaes, images, explorer):
    shown = parts(explorer(vaes, images), ipywidgets.Image)
    assert all(one.tooltip for one in shown)
    assert all(one.get_state()["description"] == "" for one in shown)  # the front end asks for it


@pytest.mark.parametrize(
    ("explorer", "values"),
    [(interpolation_explorer, [0.8]), (traversal_explorer, [1, 1.5]), (attack_explorer, [0.02, 5])],
)
def test_a_slider_moves_the_picture_and_trains_nothing(vaes, images, explorer, values):
    before = {method: [p.clone() for p in vae.parameters()] for method, vae in vaes.items()}
    box = explorer(vaes, images)
    assert_answers(box, values)
    *_, panel = parts(box, ipywidgets.Image)
    picture, words = panel.value, panel.tooltip
    press(box, 2)
    assert panel.value != picture
    assert panel.tooltip != words
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
    (note,), (*_, panel) = parts(box, ipywidgets.HTML), parts(box, ipywidgets.Image)
    picture = panel.value
    press(box, 0, row=1)
    assert "same image" in note.value
    assert panel.value == picture
    press(box, 3, row=1)
    assert "same image" not in note.value
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


OVERFITTING = pd.DataFrame(  # ELBOs of a laptop's normal training, eleven points
    {
        "effective_epoch": [3, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300],
        "quantity": "elbo_test",
        "value": [-90_000, -6200, -4000, -4050, -4120, -4200, -4290, -4380, -4460, -4540, -4610.0],
    }
)


def test_the_settled_part_and_the_largest_weight_follow_the_points():
    epochs = OVERFITTING["effective_epoch"].to_numpy()
    assert settled(epochs) == 2
    assert heaviest([epochs]) == pytest.approx(0.65)  # some three of nine points
    assert heaviest([np.arange(1, 101)]) == pytest.approx(0.95)
    assert curve_twin(OVERFITTING.assign(method="normal", seed=0)).heaviest == 0.65


def test_explorers_cut_off_no_label_of_large_numbers(vaes, images):
    paths = {name: interpolate(vae, images[0], images[1], alphas=5, samples=3) for name, vae in vaes.items()}
    picture = PathPicture({name: path._replace(log_q=1e6 * path.log_q) for name, path in paths.items()})
    picture.move(2)
    assert clash(picture.canvas.figure) == []


def test_the_generalization_gap_is_among_the_curves():
    rows = [
        {"seed": seed, "effective_epoch": epoch, "quantity": name, "value": value + epoch + 10 * seed, "se": 1.0}
        for seed in (0, 1)
        for epoch in (1, 2)
        for name, value in (("elbo_train", 5.0), ("elbo_test", 2.0))
    ]
    curves = with_gap(pd.DataFrame(rows[:-1]))  # the last test ELBO was not measured
    gap = curves[curves["quantity"] == "generalization_gap"]
    assert gap[["seed", "effective_epoch", "value"]].to_numpy().tolist() == [[0, 1, 3], [0, 2, 3], [1, 1, 3]]


def test_every_quantity_of_a_run_has_a_name_for_readers(toy):
    experiment = three_gaps("smoke", toy, overrides=TINY)
    point = next(one for one in experiment.points if one.series == "normal")
    runs.run([point.run], workers=0)
    found = set(curve(point.run, runs.Store())["quantity"])
    assert len(found) > 8
    assert found <= set(QUANTITIES)
    assert not [name for name, _ in QUANTITIES.values() if "_" in name]


def test_curves_come_from_the_store_and_a_missing_vae_names_its_command(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")  # where nothing was shipped
    with pytest.raises(VaelibError, match="run `make`"):
        curve_explorer()
    experiment = three_gaps("smoke", toy, overrides=TINY)
    with pytest.raises(
        VaelibError, match=rf"vaelib run three_gaps --profile smoke --dataset {toy} --likelihood gaussian"
    ):
        trained_vaes(experiment)
    normal = [point.vae for point in experiment.points if point.series == "normal"]
    runs.run(normal, workers=0)
    assert list(trained_vaes(experiment, methods=["normal"])) == ["normal"]
    group = f"{experiment.dataset}, Gaussian · fully connected network · N = 40 · 4 epochs"
    shown = curve_explorer(quantity="elbo_train")
    assert list(shown.lists) == [group]
    assert drawn(shown, group) == {"Normal training · seed 0": True}
    assert shown.lists[group].first == "elbo_train"
    page = shown._repr_html_()
    assert f"<option>{group}</option>" in page
    assert page.count('class="run" autocomplete="off" checked') == 1
    (store := runs.Store()).folder(normal[0]).joinpath("manifest.json").write_text("{}")
    with pytest.raises(VaelibError, match="no VAE has been trained yet"):
        curve_explorer(store)


def test_curves_that_come_with_the_project_stand_in_where_the_store_has_none(capsys):
    shown = curve_explorer()
    assert "FashionMNIST, Gaussian · profile laptop" in shown.lists
    assert "come with the project" in capsys.readouterr().out


def test_the_curves_shown_first_differ_in_their_method_alone(toy):
    for epochs, series in ((1, ("normal",)), (2, ("normal", "aug_naive"))):
        experiment = three_gaps("smoke", toy, overrides=TINY | {"epochs": epochs})
        runs.run([point.vae for point in experiment.points if point.series in series], workers=0)
    shown = curve_explorer()
    first, second, every = shown.lists
    assert [name.split(" · ")[-1] for name in shown.lists] == ["2 epochs", "1 epochs", "all runs in the store"]
    assert drawn(shown, first) == {"Normal training · seed 0": True, "Aug.Naive · seed 0": True}
    assert drawn(shown, second) == {"Normal training · seed 0": True}
    assert list(shown.lists[first].names.values())[:3] == [
        ("ELBO on test images", "nats per image"), ("ELBO on training images", "nats per image"),
        ("generalization gap", "nats per image"),
    ]  # fmt: skip
    assert len(drawn(shown, every)) == 3
    assert all("N = 40" in name for name in drawn(shown, every))
    assert shown._repr_html_().count("<section hidden>") == 2


def drawn(explorer, group):
    """Return the runs of a list, and whether each is drawn at first."""
    return {name: picked for name, _, _, _, picked in explorer.lists[group].runs}


def test_a_path_picture_says_the_mean_log_density(vaes, images):
    paths = {name: interpolate(vae, images[0], images[1], alphas=5, samples=3) for name, vae in vaes.items()}
    picture = PathPicture(paths)
    picture.move(2)
    said = float(picture.titles[0].get_text().split("\n")[1].split()[0].replace("−", "-").replace(",", ""))
    assert said == pytest.approx(float(paths["normal"].mean[2]), rel=0.01)
    assert len(list(picture.frames())) == len(picture.axes[0][1]) == 5
