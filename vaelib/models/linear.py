r"""A frozen linear-Gaussian VAE whose every bound has a closed form: the truth the gaps are tested against.

    z ~ N(0, I_d),   x | z ~ N(W z + b, σ² I_D),   q(z|x) = N(A (x - b) + c, diag(s²))

With the posterior's precision Λ = I + WᵀW / σ² and mean m(x) = Λ⁻¹ Wᵀ(x - b) / σ²,

    log p(x) = log N(x; b, W Wᵀ + σ² I),      p(z|x) = N(m(x), Λ⁻¹),
    ELBO(x)  = log p(x) - KL(N(μ, diag(s²)) ‖ N(m, Λ⁻¹))
    KL       = ½ [Σᵢ Λᵢᵢ sᵢ² + (μ - m)ᵀ Λ (μ - m) - d - Σᵢ log sᵢ² - log det Λ].

The best factorised Gaussian (mean field) has μ = m and sᵢ² = 1 / Λᵢᵢ (Bishop 2006, Section 10.1.2), hence

    ELBO*(x) = log p(x) - ½ [Σᵢ log Λᵢᵢ - log det Λ].

Everything is in nats per image; images are floats and may leave [0, 1].
"""

import math

import torch
from torch import Tensor, nn

from .vae import Posterior


class _IsotropicGaussian:
    """N(x; params, σ² I) over the whole real line: no clipping, so that closed forms hold."""

    def __init__(self, sigma: float):
        self.sigma = sigma

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        square = ((x - params) / self.sigma).square().flatten(1).sum(1)
        return -0.5 * square - x[0].numel() * math.log(self.sigma * math.sqrt(2 * math.pi))

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(params.shape, generator=generator, dtype=params.dtype)
        return params + self.sigma * noise.to(params.device)

    def mean(self, params: Tensor) -> Tensor:
        return params


class LinearGaussianVAE(nn.Module):
    """The VAE interface (``encode``, ``decode``, ``likelihood``, ``d_z``) over x = W z + b + σ ε.

    Arguments:
        weight, bias, sigma: W (D, d), b (D,) and σ of the decoder.
        image_shape: (C, H, W) with C·H·W = D.
        encoder_weight, encoder_bias, encoder_sigma: A (d, D), c (d,) and s (d,); the mean-field optimum unless given,
            for which the amortization gap is 0.
    """

    unclipped = True  # its images may leave [0, 1]

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        sigma: float,
        image_shape: tuple[int, int, int],
        encoder_weight: Tensor | None = None,
        encoder_bias: Tensor | None = None,
        encoder_sigma: Tensor | None = None,
    ):
        super().__init__()
        self.image_shape, self.sigma, self.d_z = image_shape, sigma, weight.shape[1]
        self.likelihood = _IsotropicGaussian(sigma)
        precision = torch.eye(self.d_z, dtype=weight.dtype, device=weight.device) + weight.T @ weight / sigma**2
        optimum = torch.linalg.solve(precision, weight.T) / sigma**2
        for name, value in {
            "weight": weight,
            "bias": bias,
            "precision": precision,
            "optimum": optimum,
            "encoder_weight": optimum if encoder_weight is None else encoder_weight,
            "encoder_bias": weight.new_zeros(self.d_z) if encoder_bias is None else encoder_bias,
            "encoder_sigma": precision.diagonal().rsqrt() if encoder_sigma is None else encoder_sigma,
        }.items():
            self.register_buffer(name, value)

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z|x) with means and standard deviations (B, d)."""
        mu = (x.flatten(1) - self.bias) @ self.encoder_weight.T + self.encoder_bias
        return Posterior(mu, self.encoder_sigma.expand_as(mu))

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's mean W z + b, (B, C, H, W)."""
        return (z @ self.weight.T + self.bias).view(-1, *self.image_shape)

    def images(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` images from p(x), (n, C, H, W)."""
        z = torch.randn((n, self.d_z), generator=generator, dtype=self.weight.dtype)
        return self.likelihood.sample(self.decode(z.to(self.weight.device)), generator)

    def log_px(self, x: Tensor) -> Tensor:
        """Return log p(x), (B,) in nats."""
        weight, bias = self.weight.double(), self.bias.double()
        noise = self.sigma**2 * torch.eye(len(bias), dtype=torch.float64, device=bias.device)
        marginal = torch.distributions.MultivariateNormal(bias, weight @ weight.T + noise)
        return marginal.log_prob(x.flatten(1).double())

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the exact posterior's mean (B, d) and covariance Λ⁻¹ (d, d), in float64."""
        mean = (x.flatten(1) - self.bias).double() @ self.optimum.double().T
        return mean, torch.linalg.inv(self.precision.double())

    def optimal_posterior(self, x: Tensor) -> Posterior:
        """Return the best factorised Gaussian: μ = m(x), sᵢ = Λᵢᵢ^(-1/2)."""
        mean, _ = self.posterior(x)
        return Posterior(mean, self.precision.double().diagonal().rsqrt().expand_as(mean))

    def exact_elbo(self, x: Tensor, q: Posterior | None = None) -> Tensor:
        """Return the expected ELBO of ``q`` (the encoder's output by default), (B,) in nats, with no sampling."""
        mu, sigma = (part.double() for part in (self.encode(x) if q is None else q))
        offset, precision = mu - self.posterior(x)[0], self.precision.double()
        quadratic = (sigma.square() @ precision.diagonal()) + ((offset @ precision) * offset).sum(1)
        kl = 0.5 * (quadratic - self.d_z - 2 * sigma.log().sum(1) - torch.logdet(precision))
        return self.log_px(x) - kl

    def exact_elbo_star(self, x: Tensor) -> Tensor:
        """Return ELBO*, the best ELBO over factorised Gaussians, (B,) in nats."""
        return self.exact_elbo(x, self.optimal_posterior(x))

    def expected(self, mean: Tensor, covariance: Tensor) -> tuple[float, float, float]:
        """Return E[log p(x)], E[ELBO*(x)] and E[ELBO(x)], nats, over any x of this mean (D,) and covariance (D, D).

        All three are quadratic in x: no sampling, and p_data need not be the model's own distribution.
        """
        weight, precision = self.weight.double(), self.precision.double()
        marginal = weight @ weight.T + self.sigma**2 * torch.eye(len(weight), dtype=torch.float64, device=weight.device)
        second = covariance.double() + torch.outer(*[mean.double() - self.bias.double()] * 2)
        constant = len(weight) * math.log(2 * math.pi) + torch.logdet(marginal)
        log_px = -0.5 * (constant + torch.linalg.solve(marginal, second).trace())
        lost = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        slope, shift = (self.encoder_weight - self.optimum).double(), self.encoder_bias.double()
        place = slope @ (mean.double() - self.bias.double()) + shift
        offsets = slope @ covariance.double() @ slope.T + torch.outer(place, place)  # E[(μ - m)(μ - m)ᵀ]
        s = self.encoder_sigma.double()
        quadratic = s.square() @ precision.diagonal() + (precision @ offsets).trace()
        kl = 0.5 * (quadratic - self.d_z - 2 * s.log().sum() - torch.logdet(precision))
        return float(log_px), float(log_px - lost), float(log_px - kl)

    def encoder_of(self, images: Tensor) -> "LinearGaussianVAE":
        """Return the same decoder behind the least-squares encoder of N training images (N, C, H, W).

        On every image in the span of those N its mean is the optimum, ELBO = ELBO*; it is blind to all directions that
        the N images do not show. For N ≥ D nothing is missing; for less it is the encoder that overfits.
        """
        shown = torch.linalg.pinv((images.flatten(1) - self.bias).double())
        projection = shown @ (images.flatten(1) - self.bias).double()
        seen = (self.optimum.double() @ projection).to(self.weight)
        return LinearGaussianVAE(self.weight, self.bias, self.sigma, self.image_shape, encoder_weight=seen)
