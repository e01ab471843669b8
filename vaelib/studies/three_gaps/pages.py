"""From an experiment to its figures and tables on disk: names as in the paper, footers, watermarks."""

import math
from typing import Any

import pandas as pd
from IPython.display import Markdown

from ...report.canvas import LABELS, ReportFigure
from ...report.escape import styled
from ...report.explorers.live import can_live, keep_decoders
from ...report.explorers.static import take_twins, traversal_twin
from ...report.explorers.widgets import traversal_explorer
from ...report.pages import compared
from ...report.publish import PAPERS, framed, papers_images, provenance_line, publish, stem
from ...report.reference import FIGURES, GAPS, of_setting, paper_curves
from ...report.study import Figure
from ...report.trained import load_test_set, trained_vaes
from ...runs import Experiment
from ...text import number
from ...training.distributions import PAIR
from .figures import own_distribution_figure, three_gaps_figure


def _headline(name: str, caption: str) -> Figure:
    return Figure(name, f"{caption}. A bracket is a gap at the last epoch.", table="three_gaps", headline=True)


# By setting; the same figure of own images or of another likelihood counts as Fig. 2.
FIG02 = _headline("fig02", "The three gaps over training (the paper's Fig. 2 is CIFAR-10)")
HEADLINES = {
    ("cifar10", "mol"): FIG02,
    ("binary_mnist", "bernoulli"): _headline("fig10", "The three gaps on BinaryMNIST, Bernoulli likelihood (Fig. 10)"),
    ("fashion_mnist", "gaussian"): _headline("fig11", "The three gaps on FashionMNIST, Gaussian likelihood (Fig. 11)"),
    ("fashion_mnist", "mol"): _headline("fig12", "FashionMNIST with a mixture of logistics (Fig. 12)"),
}
FIG13 = Figure(
    "fig13",
    "The ELBO on what each model really trained on (dotted) against the test ELBO (Fig. 13). These numbers "
    "belong to different distributions; their difference is no generalization gap.",
    table="three_gaps",
)

GAP_LABELS = {
    "generalization_gap": "generalization gap G_g (nats)",
    "amortization_gap": "amortization gap G_a (nats)",
    "robustness_gap": "robustness gap G_r (MS-SSIM)",
}
COLUMNS = {"elbo_train": "ELBO on training images", "elbo_test": "ELBO on test images"} | GAP_LABELS


def _headline_of(experiment: Experiment) -> Figure:
    """Return the figure of the three gaps that an experiment's setting has."""
    return HEADLINES.get((experiment.dataset, experiment.likelihood), FIG02)


def _frame(experiment: Experiment, gaps: pd.DataFrame) -> dict:
    """Return what every figure of an experiment shares; the paper's curves only where the scale is the paper's."""
    setting = (experiment.dataset, experiment.likelihood)
    beneath = None
    if setting in FIGURES and papers_images(experiment):
        beneath = of_setting(paper_curves(), *setting)
    footer = provenance_line(gaps, profile=experiment.profile.name)
    return framed(experiment, footer + ("" if beneath is None else PAPERS)) | {"paper": beneath}


def draw_three_gaps(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save the three panels of Figs. 2 and 10–12 for one experiment."""
    curves, gaps = tables["curves"], tables["three_gaps"]
    figure = three_gaps_figure(curves, gaps, **_frame(experiment, gaps))
    return publish(figure, _headline_of(experiment), experiment)


def draw_own_distributions(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save Fig. 13's panel: the ELBO on what was really trained on, beside the test ELBO."""
    figure = own_distribution_figure(tables["curves"], **_frame(experiment, tables["three_gaps"]))
    return publish(figure, FIG13, experiment)


def explore_latents(experiment: Experiment) -> Any:
    """Return the sliders that move a latent of normal training and of DMaaPx; no network is trained under ``use_results``."""
    if experiment.profile.use_results:
        return Markdown("*No network is here to move the latents of: leave `use_results` out, and they are trained.*")
    return traversal_explorer(trained_vaes(experiment, methods=PAIR), load_test_set(experiment)[0][:12])


def keep_latents(experiment: Experiment) -> Any:
    """Keep for the report what moves the latents of normal training and of DMaaPx, and return what to say or show of it.

    Fully connected decoders run in the report themselves; others get pictures of one latent at a time. Under
    ``use_results`` they are those that come with the project.
    """
    figure = _headline_of(experiment).name
    name = f"{figure}_{stem(experiment)}"
    if experiment.profile.use_results:
        if not take_twins(experiment.profile.name, name):
            return Markdown("*The latents cannot be moved: no decoders came with the project for these settings.*")
        return Markdown("*The report moves the latents of both decoders that come with the project.*")
    vaes, (images, labels) = trained_vaes(experiment, methods=PAIR), load_test_set(experiment)
    if not all(map(can_live, vaes.values())):
        return traversal_twin(experiment, vaes, 0, figure=figure)
    keep_decoders(vaes, images, labels, experiment.profile.name, name)
    return Markdown(
        f"*The report moves all {vaes['normal'].d_z} latents of both decoders, below its first figure and without a kernel.*"
    )


def compared_gaps(table: pd.DataFrame) -> Any:
    """Return Table 7's rows of one setting, ours below the paper's, mean ± standard error over seeds, the best in bold."""
    return compared(table.rename(columns={"ours_se": "ours_sd"}).assign(paper_sd=math.nan), "gap", GAP_LABELS, GAPS)


def own_gaps(three_gaps: pd.DataFrame) -> Any:
    """Return the ELBOs and gaps on images of one's own, of which the paper has no numbers, in the same form."""
    long = three_gaps.melt("method", [name for name in COLUMNS if name in three_gaps], "gap")
    table = long.groupby(["gap", "method"], as_index=False)["value"].agg(ours="mean", ours_sd="sem")
    return compared(table.assign(paper=math.nan, paper_sd=math.nan), "gap", COLUMNS, GAPS)


def fine_print(three_gaps: pd.DataFrame) -> Any:
    """Return what qualifies the gaps, as means over seeds: unconverged q*, floors, similarities."""
    columns = ["unconverged", "input_similarity", "reconstruction_similarity", "clean_floor", "at_sigma_floor"]
    columns.append("robustness_gap")
    means = three_gaps.groupby("method", sort=False)[columns].mean()
    return styled(means.rename(index=LABELS, columns=lambda name: name.replace("_", " "))).format(number)
