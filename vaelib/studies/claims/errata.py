"""Where the paper disagrees with itself beyond its claims' numbers: sentences, and what in the paper speaks against them.

The margins are computed from the digitised figures; a row without one rests on the text alone.
"""

from ...report.entries import Finding
from ...report.reference import digitised
from ..sweeps.paper import paper_sweep


def _legend_of_7a() -> float:
    """Return the gap at mz = 1 if the legend of Fig. 7a were right (solid: training set)."""
    at = digitised("fig7a_elbo_mz").assign(x=lambda table: table["x"].round()).set_index(["series", "x"])["y"]
    return float(at["normal_solid", 1] - at["normal_dashed", 1])


def _epochs_of_16() -> float:
    """Return how much closer Fig. 16's normal training is to Fig. 6's run at epoch 1,000 than at 500; < 0: at 500."""
    shown = paper_sweep("teacher_fractions").set_index("series").loc["normal", "elbo_test"]
    run = digitised("raw_cifar_fig6").query("series == 'mz1_test'").set_index("epoch")["elbo"]
    half, end = run[(run.index > 495) & (run.index < 505)], run[run.index > 995]
    return float((half - shown).abs().min() - (end - shown).abs().min())


def _growth_of_parameters() -> float:
    """Return 2 minus the factor by which |Theta| grows from nc = 256 to 512 at mz = 1 in Fig. 8."""
    x = digitised("fig8_params").query("series == 'mz1'")["x"].to_numpy()
    return float(2 - x[-1] / x[-4])


def _fall_of_phase_3() -> float:
    """Return by how much the test ELBO changes in Fig. 8's phase (3), negative whatever its sign."""
    elbo = paper_sweep("sizes").set_index(["series", "nc", "mz"])["elbo_test"]
    return -abs(float(elbo["normal", 512, 64] - elbo["normal", 256, 64]))


def findings() -> list[Finding]:
    """Return every such sentence."""
    return [
        Finding("epochs", "All models are trained for 1,000 epochs", "5.1, Fig. 16", "test ELBO", _epochs_of_16(),
                "Fig. 16's normal training (-11,407.0) is Fig. 6's run at epoch 500 (-11,407.2); near 1,000 that lies 90 lower"),
        Finding("parameters", "The parameters outside the latents grow like nc: |Theta_not-z| = nc c_2", "5.1",
                "2 - growth", _growth_of_parameters(),
                "twice the nc has four times the parameters in Fig. 8: 88 nc^2 + 174 nc + 100"),
        Finding("legend-7a", "Fig. 7a: the solid lines are the training set", "Fig. 7a", "G_g", _legend_of_7a(),
                "the legend is swapped: Fig. 7b has this gap with the other sign"),
        Finding("phase-3", "Phase (3) of the path is a horizontal line", "5.7, Fig. 8", "test ELBO", _fall_of_phase_3(),
                "from nc = 256 to 512 at mz = 64 the negative ELBO falls from 8,908 to 8,689: a mild decline"),
        Finding("n-z", "Phases (1) and (3) increase n_z", "5.7", "text", None, "no n_z is defined: nc is meant (Fig. 8)"),
        Finding("tables", "Tables 4-6 describe the network", "B.1", "text", None,
                "Fig. 8's counts need 1x1 second convolutions, two transposed ones, 100 outputs, d_z = 64 mz in all"),
        Finding("rha", "RHA's encoder is trained on samples of the decoder", "5.2", "text", None,
                "Sec. 3 has them as a part of the training data, and so has the cited code"),
        Finding("b7", "Adding augmentation improves the test ELBO and the gap", "B.7", "text", None,
                "at 0 % real images the next sentence has DMaaPx without augmentation best in both"),
        Finding("line-15", "The vertical line is DMaaPx's test ELBO", "Fig. 15", "text", None, "the line is horizontal"),
        Finding("algorithm-2", "Algorithm 2 takes each image in turn", "B.9", "text", None,
                "its slice t(i-1)M : tiM has t M images and overlaps itself; (t-1)N + (i-1)M : (t-1)N + iM is meant"),
        Finding("colours", "Dark purple is one method", "Fig. 2, Fig. 4 left", "text", None,
                "it is Aug.Tuned in Fig. 2 and Aug.Naive in Fig. 4"),
    ]  # fmt: skip
