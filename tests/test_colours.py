"""Colours that a reader with any eyes tells apart: distances and contrasts are computed, in numpy alone.

Dichromats by Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB; distances by CIEDE2000 (Sharma et al. 2005).
"""

import itertools
import re

import numpy as np
import pytest

from tests.test_report import tables
from vaelib.report import pages
from vaelib.report.canvas import COLOURS, LABELS, MARKERS
from vaelib.report.explorers.static import TEMPLATES
from vaelib.studies import tour
from vaelib.studies.claims import figures as claim_figures
from vaelib.studies.sweeps import figures as size_figures
from vaelib.studies.three_gaps.figures import three_gaps_figure
from vaelib.training.distributions import METHODS

EYES = {
    "trichromat": np.eye(3),
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
FAMILIES = {  # what meets in a figure
    "three gaps": METHODS,
    "Figs. 4, 16": ("normal", "dmaapx", "held_out"),
    "Fig. 5": ("normal", "normal_rha", "dmaapx", "dmaapx_rha"),
    "Fig. 6": ("few_latents", "more_latents"),
    "Fig. 14": ("normal", "normal_mollify", "dmaapx", "dmaapx_mollify"),
    "Fig. 15": ("no_augmentation", "aug_tuned", "dmaapx"),
    "explorers of other VAEs": ("normal", "held_out", "dmaapx", "aug_naive"),
}


def linear(colour):
    """Return linear RGB of "#rrggbb"."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return CIELAB (D65) of linear RGB."""
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    ratio = np.array(matrix) @ rgb / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one, other):
    """Return the distance of two CIELAB colours."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25**7)))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue, mean_l, mean_c = (h1 + turn / 2) if c1 * c2 else h1 + h2, (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    d_l = (l2 - l1) / (1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2))
    d_c = (c2 - c1) / (1 + 0.045 * mean_c)
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * mean_c * t)
    rotation = (
        -2
        * np.sqrt(mean_c**7 / (mean_c**7 + 25**7))
        * np.sin(np.radians(60 * np.exp(-(((hue % 360 - 275) / 25) ** 2))))
    )
    return np.sqrt(d_l**2 + d_c**2 + d_h**2 + rotation * d_c * d_h)


def _cos(degrees):
    return np.cos(np.radians(degrees))


def distance(one, other, eyes):
    """Return how far apart two colours are for some eyes."""
    return ciede2000(*(lab(np.clip(np.array(EYES[eyes]) @ linear(colour), 0, 1)) for colour in (one, other)))


def contrast(one, other):
    """Return the contrast of two colours, as WCAG defines it."""
    low, high = sorted(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_distance_and_contrast_are_those_of_the_literature():
    """Pairs 1, 7, 13 and 25 of Sharma et al.'s test data; white on black."""
    for one, other, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ):
        assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert distance("#0072b2", "#b573d0", "protanope") < 10  # what was in use


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("family", FAMILIES)
def test_colours_that_meet_are_far_apart(family, eyes):
    for one, other in itertools.combinations(FAMILIES[family], 2):
        assert distance(COLOURS[one], COLOURS[other], eyes) >= 20, (one, other)


@pytest.mark.parametrize("eyes", EYES)
def test_other_palettes_are_far_apart_too(eyes):
    palettes = (list(claim_figures.COLOURS.values()), [size_figures.CYAN, size_figures.BROWN])
    for palette in (*palettes, [COLOURS[name] for name in tour.COLOURED]):
        for one, other in itertools.combinations(palette, 2):
            assert distance(one, other, eyes) >= 20, (one, other)


def test_methods_keep_the_papers_hues():
    """Blue for normal training, green for DMaaPx, purple for augmentation."""
    hues = {"normal": (225, 285), "dmaapx": (140, 190), "aug_tuned": (295, 330), "aug_naive": (295, 330)}
    for method, (low, high) in hues.items():
        _, a, b = lab(linear(COLOURS[method]))
        assert low < np.degrees(np.arctan2(b, a)) % 360 < high, method
        assert contrast(COLOURS[method], "#ffffff") >= 3, method


def test_lines_that_meet_have_markers_of_their_own():
    assert set(MARKERS) == set(COLOURS) == set(LABELS)
    for family in FAMILIES.values():
        assert len({MARKERS[name] for name in family}) == len(family)
    gaps, curves = tables(1)
    fig = three_gaps_figure(curves, gaps, title_note="x")
    told = {handle.get_label(): handle.get_marker() for handle in fig.legends[0].legend_handles}
    assert told == {LABELS[name]: MARKERS[name] for name in METHODS}
    drawn = {(line.get_color(), line.get_marker()) for line in fig.axes[0].get_lines()}
    assert drawn == {(COLOURS[name], MARKERS[name]) for name in METHODS}


def test_verdicts_can_be_read_on_light_and_on_dark_pages():
    """In a notebook they bring their own background, whatever the theme of JupyterLab."""
    row = {"claim": "x", "evidence": "our runs", "note": "", "interval": None}
    names = ("supported", "contradicted", "not_testable")
    page = pages.verdicts([row | {"verdict": name} for name in names]).to_html()
    pairs = re.findall(r"color: (#\w{6});\s*background-color: (#\w{6})", page)
    assert len(pairs) == 3
    assert all(contrast(*pair) >= 4.5 for pair in pairs)
    source = TEMPLATES.loader.get_source(TEMPLATES, "report.html")[0]
    schemes = re.findall(r"--page: (#\w+);\s*--good: (#\w+); --bad: (#\w+); --open: (#\w+)", source)
    assert len(schemes) == 2
    for page, *inks in schemes:
        assert all(contrast(ink, "#ffffff" if page == "#fff" else page) >= 4.5 for ink in inks)
