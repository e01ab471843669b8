"""The encoder attack: never out of its box, upwards, the known optimum of a linear encoder, pairs on their own."""

import pytest
import torch

from vaelib import gaps
from vaelib.data.identity import dataset_tag
from vaelib.errors import VaelibError
from vaelib.gaps import attack_course, attack_encoder, attack_path, symmetric_kl
from vaelib.images import as_float
from vaelib.models import FullyConnectedVAE, Posterior
from vaelib.models.linear import LinearGaussianVAE
from vaelib.rng import normal
from vaelib.runs.profiles import PROTOCOLS, Protocol
from vaelib.studies import tour


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return FullyConnectedVAE(d_z=4, hidden=32)


@pytest.fixture(scope="module")
def x():
    draws = torch.Generator().manual_seed(1)
    levels = torch.rand((5, 1, 1, 1), generator=draws)
    return 0.1 + 0.8 * levels * torch.rand((5, 1, 32, 32), generator=draws)


def growth(vae, x, x_a):
    """SKL of every pair, (restarts, B)."""
    with torch.no_grad():
        clean = vae.encode(x)
        return torch.stack([symmetric_kl(vae.encode(attacked), clean) for attacked in x_a])


def test_symmetric_kl_against_torch_distributions():
    draws = torch.Generator().manual_seed(0)
    q, p = (
        Posterior(torch.randn((6, 3), generator=draws), 0.1 + torch.rand((6, 3), generator=draws)) for _ in range(2)
    )
    a, b = torch.distributions.Normal(*q), torch.distributions.Normal(*p)
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(symmetric_kl(q, p), 0.5 * (kl(a, b) + kl(b, a)).sum(1))
    assert torch.equal(symmetric_kl(q, q), torch.zeros(6))


def test_an_attack_on_the_narrowest_posterior_is_no_nan(x):
    """Variances of 1e-20 under a steep encoder: SKL overflowed float32, and slopes of opposite sign cancelled to NaN."""
    torch.manual_seed(0)
    steep = FullyConnectedVAE(d_z=4, hidden=32)
    steep.smallest_sigma = 1e-10
    with torch.no_grad():
        steep.encoder[-1].weight.mul_(1e8)
        steep.encoder[-1].bias[4:] = -23.0
        steep.encoder[2].weight.mul_(1e3)
    x_a = attack_encoder(steep, x, steps=5, restarts=4)
    assert x_a.isfinite().all()
    assert (x_a - x).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("smallest", [1e-6, 1e-10])
def test_skl_and_its_slope_are_finite_where_sigma_is_at_its_floor(smallest):
    s = torch.tensor([[-40.0, -40.0, 0.0, 20.0]], requires_grad=True)
    mu = torch.tensor([[0.0, 3.0, -3.0, 1.0]], requires_grad=True)
    narrow = Posterior(mu, torch.nn.functional.softplus(s).clamp_min(smallest))
    for other in (Posterior(torch.zeros(1, 4), torch.full((1, 4), one)) for one in (smallest, 0.5, 20.0)):
        for skl in (symmetric_kl(narrow, other), symmetric_kl(other, narrow)):
            assert skl.isfinite()
            assert all(slope.isfinite().all() for slope in torch.autograd.grad(skl, (mu, s), retain_graph=True))


@pytest.mark.parametrize("gradient", ["raw", "sign"])
@pytest.mark.parametrize("radius", [0.05, 0.2])
def test_ball_and_pixel_range_are_never_left(vae, x, gradient, radius):
    x_a = attack_encoder(vae, x, radius=radius, steps=7, lr=50.0, restarts=3, gradient=gradient)
    assert x_a.shape == (3, *x.shape)
    assert (x_a - x).abs().max() <= radius + 1e-6
    assert (x_a.flatten(2).amin(2) >= x.flatten(1).amin(1)).all()
    assert (x_a.flatten(2).amax(2) <= x.flatten(1).amax(1)).all()


@pytest.mark.parametrize("gradient", ["raw", "sign"])
def test_the_attack_climbs_from_a_random_start(vae, x, gradient):
    start = attack_encoder(vae, x, steps=0, restarts=4, gradient=gradient)
    end = attack_encoder(vae, x, steps=30, lr=1.0 if gradient == "raw" else 0.02, restarts=4, gradient=gradient)
    assert (growth(vae, x, start) > 0).all()
    assert (growth(vae, x, end) > growth(vae, x, start)).all()
    assert not torch.equal(start[0], start[1])


@pytest.mark.parametrize("start", ["kuzina2022", "projected"])
def test_the_loop_is_the_published_ones(vae, x, start):
    """Kuzina et al.: clip x + ε to the image's range, take the gradient there, step, clip ε to ±δ; repeat.

    ``projected`` differs in one place: ε is clipped to ±δ before the first gradient, too.
    """
    found = attack_encoder(vae, x, radius=0.1, steps=3, lr=20.0, restarts=2, seed=4, start=start)
    for restart in range(2):
        for index, image in enumerate(x):
            low, high = image.min(), image.max()
            eps = 0.2 * normal(tuple(image.shape), 4, f"attack/{restart}", index)
            eps = eps.clamp(-0.1, 0.1) if start == "projected" else eps
            for _ in range(3):
                changed = (image + eps).clamp(low, high).requires_grad_()
                skl = symmetric_kl(vae.encode(changed[None]), Posterior(*(p.detach() for p in vae.encode(image[None]))))
                (slope,) = torch.autograd.grad(skl.sum(), changed)
                eps = (changed.detach() - image + 20 * slope).clamp(-0.1, 0.1)
            torch.testing.assert_close(found[restart, index], (image + eps).clamp(low, high), rtol=0, atol=1e-5)
    assert not torch.allclose(
        *(attack_encoder(vae, x, steps=3, lr=20.0, start=s) for s in ("kuzina2022", "projected")), atol=1e-3
    )


def test_no_image_is_shown_outside_the_ball_before_the_first_step(vae, x):
    for start in ("kuzina2022", "projected"):
        shown = attack_course(vae, x, (0, 1), radius=0.05, start=start)
        assert (shown - x).abs().max() <= 0.05 + 1e-6
        path = attack_path(vae, x[0], (0.0, 0.05), steps=2, start=start)
        assert torch.equal(path[0], x[0].expand(3, *x.shape[1:]))
        assert (path - x[0]).abs().max() <= 0.05 + 1e-6


def test_linear_encoder_is_driven_to_the_corner_of_the_box(x):
    """With d_z = 1, SKL = (aᵀε)² / (2 s²): its maximum over the box is at one of two corners, by the signs of a."""
    weight = torch.randn((1024, 1), generator=torch.Generator().manual_seed(3)) / 30
    vae = LinearGaussianVAE(weight, torch.full((1024,), 0.5), 0.1, (1, 32, 32))
    low, high = x.flatten(1).amin(1, keepdim=True), x.flatten(1).amax(1, keepdim=True)
    flat, a = x.flatten(1), vae.encoder_weight[0]
    lower, upper = torch.maximum(flat - 0.1, low) - flat, torch.minimum(flat + 0.1, high) - flat
    up = torch.where(a > 0, upper, lower) @ a
    down = torch.where(a > 0, lower, upper) @ a
    optimum = torch.maximum(up.square(), down.square()) / (2 * vae.encoder_sigma.square())
    reached = growth(vae, x, attack_encoder(vae, x, restarts=12)).amax(0)
    torch.testing.assert_close(reached, optimum, rtol=1e-3, atol=0)


def test_pairs_are_independent_of_their_batch(vae, x):
    whole = attack_encoder(vae, x, steps=10, restarts=3)
    torch.testing.assert_close(attack_encoder(vae, x, steps=10, restarts=3, chunk=2), whole)
    torch.testing.assert_close(attack_encoder(vae, x[[3, 1]], steps=10, restarts=3, indices=[3, 1]), whole[:, [3, 1]])
    torch.testing.assert_close(attack_encoder(vae, x, steps=10, restarts=1), whole[:1])
    assert torch.equal(attack_encoder(vae, x, steps=10, restarts=3), whole)
    assert not torch.allclose(attack_encoder(vae, x, steps=10, restarts=3, seed=1), whole)


def test_a_step_too_long_is_halved_after_twenty_idle_ones():
    """SKL = sin²(10 u) / 2 of the mean change u over P = 64 pixels peaks at 1/2 with curvature -100.

    Ascent on u is stable at the peak only if η · 100 / 64 < 2: at 3 it swings about it, at 3/2 it settles.
    """

    class Wave(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("sigma", torch.ones(1, 1))

        def encode(self, x):
            return Posterior(torch.sin(10 * (x.flatten(1).mean(1, keepdim=True) - 0.5)), self.sigma.expand(len(x), 1))

    x = torch.full((1, 1, 8, 8), 0.5)
    x[..., 0, 0], x[..., 0, 1] = 0, 1
    settings = {"radius": 0.4, "restarts": 4, "lr": 3 * 64 / 100}
    swinging, settled = (growth(Wave(), x, attack_encoder(Wave(), x, steps=n, **settings)) for n in (20, 80))
    assert swinging.max() < 0.49
    torch.testing.assert_close(settled, torch.full((4, 1), 0.5), rtol=1e-3, atol=0)


def test_the_model_is_left_as_it_was(vae, x):
    vae.train()
    attack_encoder(vae, (255 * x).to(torch.uint8), steps=2, restarts=1)
    assert vae.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in vae.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient": "fgsm"}, "raw, sign"),
        ({"start": "corner"}, "kuzina2022, projected"),
        ({"radius": 0.0}, "positive"),
        ({"steps": -1}, "attack steps = -1 .* 0 or more"),
        ({"restarts": 0}, "attack restarts = 0 .* 1 or more"),
        ({"indices": [0]}, "1 indices for 5 images"),
    ],
)
def test_mistakes_are_named(vae, x, options, words):
    with pytest.raises(VaelibError, match=words):
        attack_encoder(vae, x, **options)


@pytest.mark.parametrize("gradient", ["raw", "sign"])
def test_a_path_passes_through_the_attacks_of_every_radius_and_length(vae, x, gradient):
    radii, options = (0.0, 0.05, 0.1), {"lr": 0.5, "gradient": gradient, "seed": 3}
    path = attack_path(vae, x[2], radii, steps=6, every=2, index=7, **options)
    assert path.shape == (3, 4, *x.shape[1:])
    for place, radius in enumerate(radii[1:], 1):
        for stop in range(4):
            alone = attack_encoder(vae, x[2:3], radius=radius, steps=2 * stop, restarts=1, indices=[7], **options)
            torch.testing.assert_close(path[place, stop], alone[0, 0])
    assert torch.equal(path[0], x[2].expand(4, *x.shape[1:]))
    with pytest.raises(VaelibError, match="gradient"):
        attack_path(vae, x[0], radii, gradient="fgsm")


@pytest.mark.parametrize("gradient", ["raw", "sign"])
def test_a_course_passes_through_the_attacks_of_every_length(vae, x, gradient):
    options = {"radius": 0.1, "lr": 0.5, "gradient": gradient, "restarts": 2, "seed": 3, "chunk": 4}
    course = attack_course(vae, x, (6, 0, 2), **options)
    assert course.shape == (3, 2, *x.shape)
    for steps, x_a in zip((6, 0, 2), course, strict=True):
        torch.testing.assert_close(x_a, attack_encoder(vae, x, steps=steps, **options))
    with pytest.raises(VaelibError, match="gradient"):
        attack_course(vae, x, (1,), gradient="fgsm")


# --- the tour -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"attack_steps": None}, (7, 0.1, "raw")),
        ({"attack_steps": 3, "attack_radius": 0.05}, (3, 0.05, "raw")),
        ({"attack_steps": 3, "attack_gradient": "sign"}, (3, 0.1, "sign")),
    ],
)
def test_both_attacks_of_the_tour_are_the_profiles_or_table_2s(overrides, expected, toy, monkeypatch):
    table_2 = Protocol("gaussian", 2, 7, 0.1)
    monkeypatch.setitem(PROTOCOLS, dataset_tag(toy), table_2)
    sizes = {"n_train": 4, "n_test": 10, "attack_restarts": 1} | overrides
    few, _, budget = tour.few_and_many(toy, tour.budget("smoke", toy, "gaussian", sizes), 0)
    taken, attack = [], gaps.attack_encoder
    for room in (gaps, gaps.robustness):
        told = lambda *a, **k: taken.append((k["steps"], k["radius"], k["gradient"])) or attack(*a, **k)  # noqa: E731
        monkeypatch.setattr(room, "attack_encoder", told)
    vaes = {"N": tour.untrained(toy, "gaussian", budget, 1, 0)}
    tour.attacked(vaes, as_float(few.test[:2]), budget, 0)
    tour.robustness(vaes, few.test, few.test_labels, budget, 0)
    assert taken == [expected, expected]
