"""The decoder that runs in the report: what is kept of it, and that a browser shows what torch computes."""

import base64
import json

import numpy as np
import pytest
import torch

from vaelib import paths
from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, ResidualVAE
from vaelib.models.likelihoods import Bernoulli, Gaussian
from vaelib.models.mol import MixtureOfLogistics
from vaelib.report.explorers.live import can_live, decoder_of, keep_decoders, read_decoders
from vaelib.report.explorers.static import TEMPLATES


def lively(likelihood, seed=0, **options):
    """Return a VAE with a decoder of the paper's size whose outputs differ as those of a trained one do."""
    torch.manual_seed(seed)
    vae = FullyConnectedVAE(likelihood=likelihood, **options)
    with torch.no_grad():
        for layer in vae.decoder[:-1:2]:
            layer.weight *= 3
        vae.decoder[-1].weight *= 3 if getattr(likelihood, "bounded", True) else 1
    return vae


def kept(tmp_path, vaes, channels=1):
    images = (torch.rand(12, channels, 32, 32) * 255).to(torch.uint8)
    keep_decoders(vaes, images, torch.arange(12) % 5, "laptop", "fig11_x", count=6)
    return images, read_decoders(paths.build_root() / "laptop" / "twins", "fig11_x")


def test_files_hold_the_weights_as_float16_and_start_from_one_image_of_each_class(tmp_path):
    vae = lively(Bernoulli(), hidden=8, d_z=3)
    images, (decoder,) = kept(tmp_path, {"dmaapx": vae})
    assert (decoder.name, decoder.labels, decoder.bounded) == ("DMaaPx", [0, 1, 2, 3, 4, 0], True)
    assert np.frombuffer(base64.b64decode(decoder.images[5]), np.uint8).tolist() == images[5].flatten().tolist()
    assert sorted(decoder.order) == [0, 1, 2]
    rows, columns, packed = decoder.layers[0]
    numbers = torch.from_numpy(np.frombuffer(base64.b64decode(packed), "<f2").astype(np.float32))
    torch.testing.assert_close(
        numbers[: rows * columns].view(8, 3), vae.decoder[0].weight.detach(), atol=1e-3, rtol=1e-3
    )
    with torch.no_grad():
        mu = vae.encode(images[:1] / 255).mu[0]
    assert decoder.means[0] == pytest.approx(mu.tolist(), abs=1e-4)


def test_only_fully_connected_decoders_with_one_output_a_pixel_are_kept():
    assert can_live(lively(Gaussian(), hidden=4))
    large = lively(Gaussian(), hidden=4)
    large.decoder[-1].bias.data[0] = 1e5  # infinite in float16
    others = [FullyConnectedVAE(hidden=4, likelihood=MixtureOfLogistics()), ResidualVAE(mz=1, nc=8), large]
    assert [can_live(vae) for vae in others] == [False, False, False]
    with pytest.raises(VaelibError, match="use traversal_twin"):
        decoder_of(others[0], "normal", torch.zeros(2, 1, 32, 32, dtype=torch.uint8), [0, 1])


@pytest.mark.parametrize("part", ["layers", "order", "means", "images", "labels", "method"])
def test_a_damaged_file_is_told_by_name(tmp_path, part):
    kept(tmp_path, {"normal": lively(Gaussian(), hidden=4, d_z=2)})
    file = paths.build_root() / "laptop" / "twins" / "fig11_x.latents-normal.json"
    record = json.loads(file.read_text())
    record[part] = record[part][:-1] if part != "method" else record.pop("channels")
    file.write_text(json.dumps(record))
    with (
        pytest.raises(VaelibError, match=r"fig11_x.latents-normal.json is not readable")
        if part != "method"
        else pytest.raises(VaelibError)
    ):
        read_decoders(paths.build_root() / "laptop" / "twins", "fig11_x")


def opened(browser, decoders, path, **options):
    """Return a page that shows decoders, loaded from a file."""
    path.write_text(
        f"<!doctype html><meta charset=utf-8>{TEMPLATES.get_template('live.html').module.live(decoders)}", "utf-8"
    )
    page = browser.new_page(**options)
    page.goto(path.as_uri())
    return page


CASES = {
    "sigmoid": (Gaussian(), Bernoulli(), 1),
    "linear, in colour": (Gaussian(mean="linear"), Gaussian(mean="linear"), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_the_page_shows_what_torch_computes_at_thirty_pictures_a_second(browser, tmp_path, case):
    *likelihoods, channels = CASES[case]
    vaes = {
        name: lively(one, seed, channels=channels)
        for seed, (name, one) in enumerate(zip(("normal", "dmaapx"), likelihoods, strict=True))
    }
    _, decoders = kept(tmp_path, vaes, channels)
    assert [one.method for one in decoders] == ["normal", "dmaapx"]
    page = opened(browser, decoders, tmp_path / "live.html")
    z = torch.randn(20, 16)
    found = page.evaluate(
        "zs => { const live = document.querySelector('.live').live;"
        "return live.decoders.map(one => zs.map(z => [...live.mean(one, Float32Array.from(z))])) }",
        z.tolist(),
    )
    for vae, ours in zip(vaes.values(), found, strict=True):
        with torch.inference_mode():
            theirs = vae.likelihood.mean(vae.decode(z)).flatten(1)
        assert theirs.std() > 0.2  # pictures, not grey
        assert (torch.tensor(ours) - theirs).abs().max() < 1 / 255
    seen = page.evaluate(
        "z => { const figure = document.querySelector('.live'); figure.live.show([z, z]);"
        "return [...figure.querySelectorAll('.shown')].map(one => [...one.getContext('2d').getImageData(0, 0, 32, 32).data]) }",
        z[0].tolist(),
    )
    for pixels, ours in zip(seen, found, strict=True):
        pixels = np.array(pixels).reshape(1024, 4)
        wanted = np.round(255 * np.array(ours[0]).reshape(channels, 1024).T)
        assert (pixels[:, :3] == (wanted if channels == 3 else np.repeat(wanted, 3, 1))).all()
        assert (pixels[:, 3] == 255).all()
    took = page.evaluate(
        "z => { const live = document.querySelector('.live').live;"
        "const time = f => { const start = performance.now(); f(); return performance.now() - start };"
        "return [...Array(60)].map(() => time(() => live.show([z, z]))) }",
        z[0].tolist(),
    )
    assert min(took) < 1000 / 30  # the others wait for whatever else this machine does
    page.close()


def test_sliders_buttons_and_reset_move_the_latents_by_keyboard_and_touch(browser, tmp_path):
    vaes = {"normal": lively(Gaussian(), 0, hidden=16), "dmaapx": lively(Gaussian(), 1, hidden=16)}
    _, decoders = kept(tmp_path, vaes)
    page = opened(browser, decoders, tmp_path / "live.html", reduced_motion="reduce", has_touch=True)
    latents = "[...document.querySelector('.live').live.wanted()].map(z => [...z])"

    def settled(image, shifts):
        page.wait_for_timeout(60)
        for z, one in zip(page.evaluate(latents), decoders, strict=True):
            wanted = np.array(one.means[image])
            for rank, shift in shifts.items():
                wanted[one.order[rank]] += shift
            assert np.allclose(z, wanted, atol=1e-4)

    picture = "document.querySelector('.shown').toDataURL()"
    settled(0, {})
    before = page.evaluate(picture)
    sliders, outputs = page.locator(".sliders input"), page.locator(".sliders output")
    assert sliders.count() == 16
    page.get_by_label("latent 3", exact=False).first.focus()
    page.keyboard.press("End")
    sliders.nth(0).focus()
    page.keyboard.press("ArrowLeft")
    settled(0, {2: 3.0, 0: -0.05})
    assert outputs.all_text_contents()[:3] == ["\N{MINUS SIGN}0.05", "0.00", "3.00"]
    assert page.evaluate(picture) != before
    page.locator(".start").nth(4).tap()
    assert [one.get_attribute("aria-pressed") for one in page.locator(".start").all()].index("true") == 4
    settled(4, {2: 3.0, 0: -0.05})
    page.locator(".reset").tap()
    settled(4, {})
    page.locator(".start").first.focus()
    page.keyboard.press("Enter")
    settled(0, {})
    assert page.evaluate(picture) == before
    page.close()
    moving = opened(browser, decoders, tmp_path / "live.html")
    moving.locator(".start").nth(1).click()
    between = moving.evaluate(picture)
    moving.wait_for_timeout(900)
    assert len({before, between, moving.evaluate(picture)}) > 1  # it glides, and arrives
    moving.close()
