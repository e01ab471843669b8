r"""Sample generation (App. F): images from a VAE's prior.

z ~ N(0, I),      x ~ p(x|z)  (``"sample"``, as in the paper)  or  x = E[x|z] (``"mean"``),      to bytes, rounded
"""

import torch
from torch import Tensor, nn

from ..errors import VaelibError
from ..gaps.robustness import check_reconstruction
from ..modes import evaluating, precision_of
from ..precision import RETRAIN, require_finite
from ..rng import generator


def generate(vae: nn.Module, n: int, kind: str = "sample", seed: int = 0, batch_size: int = 1000) -> Tensor:
    """Return ``n`` images from the prior, (n, C, H, W) uint8 on the CPU; image i is a function of (seed, i).

    Arguments:
        kind: "sample" or "mean" of p(x|z).
        batch_size: images decoded at once; changes memory, never the noise.

    Raises:
        VaelibError: unknown ``kind``, or no image asked for.
        NonFinite: the decoder gave NaN or infinity.
    """
    check_reconstruction(kind)
    if n < 1:
        raise VaelibError(f"n = {n} images cannot be generated; give at least 1")
    parts = []
    with evaluating(vae) as device, torch.inference_mode():
        for start in range(0, n, batch_size):
            numbers = range(start, min(start + batch_size, n))
            draws = [generator(seed, "generate", i) for i in numbers]
            z = torch.stack([torch.randn(vae.d_z, generator=draw) for draw in draws])
            params = vae.decode(z.to(device, precision_of(vae)))
            require_finite(params, numbers, "the decoder's samples", RETRAIN)
            if kind == "mean":
                x = vae.likelihood.mean(params)
            else:
                pairs = zip(params.split(1), draws, strict=True)
                x = torch.cat([vae.likelihood.sample(one, draw) for one, draw in pairs])
            parts.append((255 * x.clamp(0, 1)).round().byte().cpu())
    return torch.cat(parts)
