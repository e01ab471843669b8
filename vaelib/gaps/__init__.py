r"""The three gaps that measure how far a VAE overfits (Section 2 of the paper), larger is worse:

    generalization   G_g = E_{x ~ D_train}[ELBO(x)] - E_{x ~ D_test}[ELBO(x)]                          (Eq. 3)
    amortization     G_a = E_{x ~ D_test}[ELBO*(x)] - E_{x ~ D_test}[ELBO(x)] ≥ 0                      (Eq. 4)
    robustness       G_r = E_{x_a} E_{x_r ~ D_test}{MS-SSIM[x_r, x_a] - MS-SSIM[x̃_r, x̃_a]}             (Eq. 5)

G_g and G_a are in nats per image, G_r has no unit. How much of log p(x) - ELBO(x) is amortization, and how much no encoder
could fix, the certified bounds tell: ELBO ≤ ELBO* ≤ log p(x), and IWAE_k, AIS ≤ log p(x) ≤ BDMC in expectation.
"""

from .ais import Bracket, ais_lower, bdmc
from .attack import attack_course, attack_encoder, attack_path, symmetric_kl
from .bounds import ELBOTerms, OptimizedPosterior, elbo_terms, evaluate_elbo, optimize_posterior
from .certified import Certified, certify, promised
from .iwae import Bound, iwae, slack
from .robustness import Pairs, RobustnessGap, attacked_pairs, robustness_gap, stratified
from .similarity import ms_ssim

__all__ = [
    "Bound", "Bracket", "Certified", "ELBOTerms", "OptimizedPosterior", "Pairs", "RobustnessGap", "ais_lower",
    "attack_course", "attack_encoder", "attack_path", "attacked_pairs", "bdmc", "certify", "elbo_terms", "evaluate_elbo",
    "iwae", "ms_ssim", "optimize_posterior", "promised", "robustness_gap", "slack", "stratified", "symmetric_kl",
]  # fmt: skip
