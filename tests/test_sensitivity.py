"""The sensitivity panel: what is measured again, on which VAEs, and what its table says."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.small import TINY
from tests.test_report import clash
from vaelib.errors import VaelibError
from vaelib.gaps import (
    attack_course,
    attack_path,
    attacked_pairs,
    ms_ssim,
    optimize_posterior,
    robustness_gap,
    stratified,
    symmetric_kl,
)
from vaelib.report import trained
from vaelib.runs import Experiment, Gaps, Network, Store, VAERun, load_profile, load_vae, resolve_data
from vaelib.runs.cost.price import cost
from vaelib.runs.cost.work import work
from vaelib.runs.experiments import Point
from vaelib.runs.stages import make
from vaelib.runs.stages.gaps import over_all
from vaelib.runs.tables import measured_tensors, stored_curves
from vaelib.studies.sensitivity import figures as attack_plots
from vaelib.studies.sensitivity import figures as panel
from vaelib.studies.sensitivity import pages as attack_figures
from vaelib.studies.sensitivity import stages
from vaelib.studies.sensitivity.runs import left_out, protocols, sensitivity
from vaelib.studies.sensitivity.stages import PAIRS, AttackSteps, AttackStrength, Remeasured, SimilarityPairs
from vaelib.studies.sensitivity.tables import PROTOCOL, panel_tables, sensitivity_table
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.tasks import reconstruct

CHEAP = {
    "amortization_images": 6,
    "amortization_steps": 20,
    "attack_images": 4,
    "attack_restarts": 2,
    "attack_steps": 4,
}


@pytest.fixture(scope="module")
def made(toy, tmp_path_factory):
    """Return a store with one small VAE, its gaps, and two of them measured again."""
    data = resolve_data(toy, 40, 16)
    vae = VAERun(data=data, network=Network(latents=2, hidden=8), epochs=2, evaluations=(1, 2), snapshots=(1, 2))
    base = Gaps(vae=vae, **CHEAP)
    mean = Remeasured(vae=vae, **CHEAP, reconstruction="mean", variant="mean", gaps=("robustness",))
    short = Remeasured(vae=vae, **CHEAP | {"amortization_steps": 1}, variant="short", gaps=("amortization",))
    store = Store(tmp_path_factory.mktemp("panel") / "store")
    for artifact in (data, vae, base, mean, short):
        make(artifact, store, "cpu")
    return SimpleNamespace(store=store, data=data, vae=vae, base=base, mean=mean, short=short)


def test_the_vaes_are_those_of_the_three_gaps_and_each_choice_is_one_change(toy):
    panel, headline = (one("smoke", toy, overrides=TINY) for one in (sensitivity, three_gaps))
    base = {point.vae.key: point.run for point in headline.points if point.vae.seed == 0}
    assert [point.run for point in panel.points[: len(base)]] == list(base.values())
    evaluated = [point.run for point in panel.points if point.vae.key in base and isinstance(point.run, Remeasured)]
    assert len(evaluated) == len(base) * len(protocols(next(iter(base.values()))))
    for run in evaluated:
        changed = {name for name in Gaps.model_fields if getattr(run, name) != getattr(base[run.vae.key], name)}
        assert changed, run.variant
        assert all(name.startswith("amortization") for name in changed) == (run.gaps == ("amortization",))
    names = {run.variant for run in evaluated}
    wanted = {"MS-SSIM kuzina2022_fixed", "MS-SSIM wang2003_upsampled", "reconstructions: mean", "gradient: sign"}
    wanted |= {"attack's start: projected", "q*: 12 starts", "posterior: σ ≥ 0.001", "posterior: σ ≥ 1e-08"}
    assert wanted | {"δ = 0.05", "δ = 0.2", "q*: 10 steps of 0.005"} <= names
    assert all(cost(run) > 0 for run in panel.runs)


def test_what_changes_training_is_trained_again_where_it_applies(toy):
    panel = sensitivity("smoke", toy, overrides=TINY | {"training_variants": ["augment_probability", "skip", "rgb"]})
    base = {point.vae.key for point in panel.points[:3]}
    again = [point for point in panel.points if point.vae.key not in base]
    assert [(p.series, p.vae.augment_probability, p.run.variant) for p in again] == [
        ("aug_naive", 0.1, "augmentation: b = 0.1")
    ]
    reasons = left_out(panel)
    assert reasons["residual network: skip without ReLU"] == "the network here is fully connected"
    assert "not binary" in reasons["samples: not binarised again"]
    assert "colour" in reasons["mixture: Zhang et al. 2022"]
    residual = sensitivity("smoke", toy, overrides=TINY | {"architecture": "residual", "training_variants": ["skip"]})
    trained = {p.series for p in residual.points if p.vae.network.skip == "identity"}
    assert trained == {"normal", "dmaapx", "aug_naive"}
    assert "training_variants asks for it" in left_out(residual)["residual network: 3×3, as printed"]
    with pytest.raises(VaelibError, match=r"training_variants.0 = 'sigma'"):
        sensitivity("smoke", toy, overrides=TINY | {"training_variants": ["sigma"]})


def test_other_diffusion_models_have_other_seeds_and_touch_dmaapx_alone(toy, tmp_path):
    names = {"training_variants": ["second_teacher", "third_teacher"]}
    panel = sensitivity("smoke", toy, overrides=TINY | names)
    base = {point.vae.key for point in panel.points[:3]}
    again = [point for point in panel.points if point.vae.key not in base]
    assert [(p.series, p.vae.seed, p.vae.bank.teacher.seed) for p in again] == [("dmaapx", 0, 1), ("dmaapx", 0, 2)]
    np.savez(tmp_path / "made.npz", images=np.zeros((100, 32, 32, 1), np.uint8))
    given = sensitivity("smoke", toy, overrides=TINY | names | {"bank_from": str(tmp_path / "made.npz")})
    assert "others trained" in left_out(given)["diffusion model: a third seed"]


def test_the_vaes_that_are_shown_are_those_of_the_three_gaps(toy, monkeypatch):
    """What is trained again stands behind the same series; it is never attacked or drawn in place of the first VAE."""
    panel = sensitivity("smoke", toy, overrides=TINY | {"training_variants": ["augment_probability"]})
    monkeypatch.setattr(trained.Store, "has_manifest", lambda store, run: True)
    monkeypatch.setattr(trained, "load_vae", lambda run, store, device: run)
    first = {
        point.series: point.vae for point in three_gaps("smoke", toy, overrides=TINY).points if point.vae.seed == 0
    }
    assert trained.trained_vaes(panel) == first


def test_a_name_is_no_part_of_a_measurement_and_the_settings_are(made):
    assert made.mean.model_copy(update={"variant": "another"}).key == made.mean.key
    assert made.mean.model_copy(update={"gaps": ("amortization",)}).key != made.mean.key
    assert Remeasured(vae=made.vae, **CHEAP).key != made.base.key


def test_measured_again_is_what_the_gaps_say(made):
    rows = json.loads((made.store.require(made.mean) / "curve.json").read_text())
    assert {row["effective_epoch"] for row in rows} == {2}
    assert {row["quantity"] for row in rows} >= {"robustness_gap", "clean_floor"}
    assert "amortization_gap" not in {row["quantity"] for row in rows}
    found = {row["quantity"]: row["value"] for row in rows}
    folder, vae = made.store.require(made.data), load_vae(made.vae, made.store)
    test, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("test", "test_labels"))
    direct = robustness_gap(vae, test, labels, n_images=4, restarts=2, steps=4, reconstruction="mean")
    assert found["robustness_gap"] == pytest.approx(float(direct.gap.mean()), abs=1e-6)
    short = json.loads((made.store.require(made.short) / "curve.json").read_text())
    best = optimize_posterior(vae, test[stratified(labels, 6)], max_steps=1, lr=0.1, samples=2)
    assert next(r["value"] for r in short if r["quantity"] == "amortization_gap") == pytest.approx(
        float(best.gap.mean()), rel=1e-4, abs=1e-3
    )


def test_a_gap_measured_on_some_images_is_that_of_all_and_its_error_says_so():
    """ELBOs spread by 300 nats over images, of which the gap takes a third: a subset's mean is off by more than it says."""
    draws = torch.Generator().manual_seed(0)
    known = 300 * torch.randn(2_000, generator=draws, dtype=torch.float64) - 1_500
    gap = 500 - known / 3 + 20 * torch.randn(2_000, generator=draws, dtype=torch.float64)
    plain, moved, errors = [], [], []
    for _ in range(300):
        chosen = torch.randperm(2_000, generator=draws)[:40]
        value, error = over_all(gap[chosen], chosen, known)
        plain.append(float(gap[chosen].mean() - gap.mean()))
        moved.append(value - float(gap.mean()))
        errors.append(error)
    scatter = np.std(moved)
    assert scatter < np.std(plain) / 3
    assert abs(np.mean(moved)) < 4 * scatter / 300**0.5
    explained = float((known / 3).std()) / 2_000**0.5  # the scatter of all images' mean, which the subset shares
    assert np.mean(errors) == pytest.approx((scatter**2 + explained**2) ** 0.5, rel=0.1)
    everything = torch.arange(2_000)
    assert over_all(gap, everything, known) == pytest.approx((float(gap.mean()), float(gap.std()) / 2_000**0.5))
    assert over_all(gap[:3], everything[:3], known)[0] == pytest.approx(float(gap[:3].mean()))


def test_several_starts_say_what_one_loses(made):
    many = Remeasured(vae=made.vae, **CHEAP | {"amortization_starts": 3}, gaps=("amortization",))
    make(many, made.store, "cpu")
    found = {row["quantity"]: row["value"] for row in json.loads((made.store.require(many) / "curve.json").read_text())}
    base = {
        row["quantity"]: row["value"]
        for row in json.loads((made.store.require(made.base) / "curve.json").read_text())
        if row["effective_epoch"] == 2
    }
    assert found["lost_by_one_start"] == pytest.approx(found["elbo_star_test"] - base["elbo_star_test"], abs=1e-2)
    assert "lost_by_one_start" not in base
    assert 0 <= base["at_sigma_floor"] <= 1


def test_the_table_has_a_row_a_variant_and_no_gap_that_a_variant_cannot_touch(made):
    points = [Point("normal", math.nan, run) for run in (made.base, made.mean, made.short)]
    experiment = Experiment("sensitivity", load_profile("smoke"), "toy", "gaussian", points, sensitivity_table)
    table = sensitivity_table(experiment, made.store)
    assert table["variant"].tolist() == [PROTOCOL, "mean", "short"]
    assert table["generalization_gap"].notna().tolist() == [True, False, False]
    assert table["robustness_gap"].notna().tolist() == [True, True, False]
    assert table["amortization_gap"].notna().tolist() == [True, False, True]
    assert table["amortization_gap"][2] < table["amortization_gap"][0]  # one step of Adam against twenty


def test_the_attacks_strength_is_that_of_a_direct_call_and_a_killed_run_goes_on(made, monkeypatch):
    fields = {name: value for name, value in made.base if not name.startswith("amortization")}
    strength, pairs = AttackStrength(**fields, images=3), SimilarityPairs(**fields)
    assert 0 < 8 * work(pairs).flops < work(strength).flops
    begun = []

    def stopping(vae, x, at, **options):
        begun.append(options["radius"])
        if len(begun) == 3:
            raise KeyboardInterrupt
        return attack_course(vae, x, at, **options)

    monkeypatch.setattr(stages, "attack_course", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(strength, made.store, "cpu")
    for run in (strength, pairs, strength):
        make(run, made.store, "cpu")
    assert len(begun) == 3 + 10 - 2  # ten courses, of which two were kept
    also = [Point("normal", math.nan, run) for run in (pairs, strength)]
    tables = panel_tables(
        Experiment("panel", load_profile("smoke"), "toy", "gaussian", [], panel_tables, also=also), made.store
    )

    folder, vae = made.store.require(made.data), load_vae(made.vae, made.store)
    test, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("test", "test_labels"))
    rows = tables["attack_strength"]
    assert rows.groupby("gradient").size().to_dict() == {"raw": 6 + 1 + 4 * 2, "sign": 6 + 1 + 4 * 2}
    row = rows.query("gradient == 'raw' and protocol and steps == 4 and restarts == 2").iloc[0]
    chosen = stratified(labels, 3)
    x = test[chosen].float() / 255
    x_a = attack_course(vae, x, (4,), restarts=2, indices=chosen.tolist())[0].flatten(0, 1)
    with torch.inference_mode():
        skl = symmetric_kl(vae.encode(x_a), vae.encode(x.repeat(2, 1, 1, 1))).view(2, 3)
    assert (row["skl"], row["images"], row["n_test"]) == (pytest.approx(float(skl.mean()), rel=1e-6), 3, 16)
    assert row["skl_worst"] == pytest.approx(float(skl.amax(0).mean()), rel=1e-6)
    (found,) = attacked_pairs(vae, test, labels, n_images=4, restarts=1, steps=4)
    for name, pair in zip(PAIRS, found, strict=True):
        rows = tables["similarity_pairs"]
        values = rows[(rows["pair"] == name) & (rows["variant"] == "wang2003_upsampled")]["value"]
        np.testing.assert_array_equal(values, ms_ssim(*pair, variant="wang2003_upsampled"))


def test_the_steps_of_an_attack_are_those_of_a_direct_call(made):
    fields = {name: value for name, value in made.base if not name.startswith("amortization")}
    run = AttackSteps(**fields, index=2)
    make(run, made.store, "cpu")
    assert run.stops == [0, 1, 2, 4]
    point = Point("normal", math.nan, run)
    experiment = Experiment("panel", load_profile("smoke"), "toy", "gaussian", [], panel_tables, also=[point])
    (found,) = measured_tensors(experiment, AttackSteps, made.store).values()
    test = torch.from_numpy(np.load(made.store.require(made.data) / "test.npy"))
    vae = load_vae(made.vae, made.store)
    path = attack_path(vae, test[2].float() / 255, (0.0, 0.1), steps=4, index=2)
    assert torch.equal(found["inputs"], torch.cat([path[0, :1], path[1, run.stops]]))
    assert torch.equal(found["outputs"], reconstruct(vae, found["inputs"], "mean"))
    similarity = ms_ssim(found["inputs"][:1].expand_as(found["inputs"]), found["inputs"])
    assert torch.equal(found["similarity"][0], similarity)


def test_training_curves_know_nothing_of_it(made):
    [(_, curve)] = stored_curves(made.store)
    assert (curve.groupby(["effective_epoch", "quantity"]).size() == 1).all()


# --- what is read off it ----------------------------------------------------------------------------------------------


def table_of(shift: float, spread: float = 0.01, seeds: int = 3) -> pd.DataFrame:
    """Return a panel in which a variant moves DMaaPx's G_r by ``shift`` from 0.1 below normal training's 0.5."""
    rows = []
    for variant, moved in ((PROTOCOL, 0.0), ("reconstructions: mean", shift)):
        for seed in range(seeds):
            for method, level in (("normal", 0.5), ("dmaapx", 0.4 + moved), ("aug_naive", 0.9)):
                noise = spread * (seed - 1) * (1 if method == "dmaapx" else -1)
                touched = np.nan if variant != PROTOCOL else 100.0 + len(method)
                row = {"variant": variant, "method": method, "seed": seed, "robustness_gap": level + noise}
                row |= {"generalization_gap": touched, "amortization_gap": touched, "clean_floor": 0.01}
                about = {"dataset": "toy", "likelihood": "gaussian", "n_train": 40, "n_test": 16, "source": "toy"}
                rows.append(row | about)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("shift", "spread", "seeds", "expected"),
    [
        (0.05, 0.01, 3, (False, False)),
        (0.2, 0.01, 3, (True, True)),
        (0.11, 0.1, 3, (True, False)),
        (0.2, 0.01, 1, (True, False)),
    ],
)
def test_an_order_changes_clearly_or_within_the_scatter(shift, spread, seeds, expected):
    rows = panel.orders(table_of(shift, spread, seeds)).set_index(["gap", "variant"])
    assert tuple(rows.loc[("robustness_gap", "reconstructions: mean"), ["changed", "clear"]]) == expected
    assert rows.loc[("robustness_gap", PROTOCOL), "order"] == "DMaaPx < Normal training < Aug.Naive"
    assert ("amortization_gap", "reconstructions: mean") not in rows.index


def test_methods_that_a_variant_leaves_alone_keep_their_value_of_the_same_seeds():
    table = table_of(0.2)
    variant = table["variant"] != PROTOCOL
    part = table[~variant | ((table["method"] == "dmaapx") & (table["seed"] == 0))]
    found = panel.by_variant(part, "robustness_gap")["reconstructions: mean"]
    assert found.index.tolist() == [0]
    assert found.loc[0].to_dict() == pytest.approx({"normal": 0.51, "dmaapx": 0.59, "aug_naive": 0.91})


def test_figures_of_the_panel_show_what_changed():
    table = table_of(0.2)
    for shown, count in ((table, 1), (table_of(0.05), 0)):
        figure = panel.sensitivity_figure(shown, title_note="toy", footer="profile smoke")
        assert len([line for ax in figure.axes for line in ax.lines if line.get_marker() == "^"]) == count
    kinds = attack_figures.both_kinds(table)
    assert kinds.groupby("kind").size().to_dict() == {"mean": 9, "sample": 9}
    marks = {"o": [], "D": []}
    for line in panel.floors_figure(kinds, title_note="toy").axes[0].lines:
        marks[line.get_marker()].append(round(float(line.get_ydata()[0]), 6))
    assert marks == {"o": [0.5, 0.01, 0.4, 0.01, 0.9, 0.01], "D": [0.5, 0.01, 0.6, 0.01, 0.9, 0.01]}
    with pytest.raises(ValueError, match="one"):
        panel.sensitivity_figure(pd.concat([table, table.assign(dataset="other")]), title_note="toy")


def test_gaps_of_millions_of_nats_keep_their_labels_apart():
    large = table_of(0.2)
    large[["generalization_gap", "amortization_gap"]] *= [1e6, 1e4]
    for table in (large, large.assign(amortization_gap=large["amortization_gap"] - 1.05e6)):
        assert clash(panel.sensitivity_figure(table, title_note="toy", footer="profile smoke")) == []


def test_the_spread_is_the_largest_minus_the_smallest_of_one_pair():
    values = {"kuzina2022": 0.9, "kuzina2022_fixed": 0.95, "wang2003_upsampled": 0.7}
    rows = [
        {
            "pair": pair,
            "method": "normal",
            "image": image,
            "variant": variant,
            "value": value - 0.1 * image * (place == 2),
        }
        for pair in PAIRS
        for image in range(2)
        for place, (variant, value) in enumerate(values.items())
    ]
    found = attack_plots.spread_table(pd.DataFrame(rows))
    assert found["mean spread"].tolist() == pytest.approx([0.3] * 3)
    assert found["largest spread"].tolist() == pytest.approx([0.35] * 3)
