"""Log-likelihoods, the Gaussian KL and the bounds made of them, in nats per example.

Everywhere: x (B, D) data, z (B, Z) or (K, B, Z) latent, mu and sigma (B, Z) the mean
and the standard deviation of q(z|x). Pixels and latents are summed; the batch is left
alone, so that the caller decides how to average it.

A *model* here is anything with `encode(x) -> (mu, sigma)` and `log_likelihood(x, z)`.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelib.data import check_floating, check_unit_interval, is_capturing

LOG_2PI = math.log(2 * math.pi)


def check_sigma(sigma: Tensor) -> None:
    """Raise ValueError if an entry of `sigma` is not positive (NaN is let through)."""
    if not is_capturing(sigma) and (sigma <= 0).any():
        raise ValueError(
            f"sigma must be positive but has an entry of {sigma.min().item():.4g}: "
            "it is a standard deviation; make it with softplus, or exp(log_var / 2)"
        )


def _check_pair(x: Tensor, other: Tensor, name: str) -> None:
    check_floating(x)
    if other.shape[other.ndim - x.ndim :] != x.shape:
        raise ValueError(
            f"{name} has shape {tuple(other.shape)} but x has {tuple(x.shape)}: "
            f"{name} must be shaped as x, with any sample axes in front"
        )


def _check_sigma_shape(sigma: Tensor, mu: Tensor) -> None:
    ends = zip(reversed(sigma.shape), reversed(mu.shape), strict=False)
    if sigma.ndim > mu.ndim or any(ours not in (1, theirs) for ours, theirs in ends):
        raise ValueError(
            f"sigma has shape {tuple(sigma.shape)} but mu has {tuple(mu.shape)}: "
            "sigma must be a number, one per coordinate (D,), or shaped as mu"
        )


def bernoulli_log_likelihood(x: Tensor, x_logits: Tensor) -> Tensor:
    """log p(x|z) of independent Bernoulli pixels with the given logits.

    x (B, D) in [0, 1]; x_logits (B, D) or (K, B, D). Returns (B,) or (K, B), in nats.
    Working on logits keeps it finite where sigmoid would round to 0 or 1. For grey x
    it is the expected log-likelihood of pixels that are on with probability x, and
    no normalised density of the grey values.
    Raises ValueError for pixels outside [0, 1] or shapes that differ, TypeError for
    integer x. (Kingma and Welling 2014, appendix C.1)
    """
    _check_pair(x, x_logits, "x_logits")
    check_unit_interval(x)
    nll = F.binary_cross_entropy_with_logits(
        x_logits, x.expand_as(x_logits), reduction="none"
    )
    return -nll.sum(-1)


def gaussian_log_likelihood(x: Tensor, mu: Tensor, sigma: Tensor | float) -> Tensor:
    """log N(x; mu, sigma^2) of independent coordinates: a decoder's, or log q(z|x).

    x (B, D); mu (B, D) or (K, B, D); sigma > 0 a number, (D,) or as mu: fixed, or a
    parameter to be learned. Either of x and mu may carry the sample axes in front.
    Returns the shape of mu (or x) without its last axis, in nats.
    Raises ValueError for non-positive sigma or shapes that do not fit, TypeError for
    integer x. (Bishop 2006, section 2.3)
    """
    check_floating(mu, "mu")
    sigma = torch.as_tensor(sigma, dtype=mu.dtype, device=mu.device)
    longer, shorter = (mu, x) if mu.ndim >= x.ndim else (x, mu)
    _check_pair(shorter, longer, "mu" if longer is mu else "x")
    _check_sigma_shape(sigma, longer)
    check_sigma(sigma)
    # Divide first, square then: sigma**2 underflows in float32 below 1e-19.
    deviation = (x - mu) / sigma
    return -(0.5 * deviation.square() + sigma.log() + 0.5 * LOG_2PI).sum(-1)


def categorical_log_likelihood(x: Tensor, x_logits: Tensor) -> Tensor:
    """log p(x|z) of D independent variables with C categories each.

    x (B, D) integers in 0..C-1; x_logits (B, D, C) or (K, B, D, C), not normalised.
    Returns (B,) or (K, B), in nats.
    Raises TypeError unless x holds integers, ValueError for shapes that do not fit or
    a category out of range. (Bishop 2006, section 2.2)
    """
    if x.is_floating_point() or x.dtype == torch.bool:
        raise TypeError(f"x has dtype {x.dtype} but must hold integer categories")
    classes = x_logits.shape[-1]
    if x_logits.shape[x_logits.ndim - x.ndim - 1 : -1] != x.shape:
        raise ValueError(
            f"x_logits has shape {tuple(x_logits.shape)} but must be "
            f"{(*x.shape, 'C')}, with any sample axes in front"
        )
    if not is_capturing(x) and x.numel() and not 0 <= x.min() <= x.max() < classes:
        raise ValueError(f"x must lie in 0..{classes - 1}: there are {classes} logits")
    index = x.expand(x_logits.shape[:-1]).unsqueeze(-1)  # (..., B, D, 1)
    return x_logits.log_softmax(-1).gather(-1, index).squeeze(-1).sum(-1)


def gaussian_kl_per_latent(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) of each latent: (B, Z) to (B, Z), in nats.

    Raises ValueError for non-positive sigma or shapes that differ.
    (Kingma and Welling 2014, appendix B)
    """
    if mu.shape != sigma.shape:
        raise ValueError(
            f"mu has shape {tuple(mu.shape)} but sigma has {tuple(sigma.shape)}: "
            "one mean and one standard deviation per latent"
        )
    check_sigma(sigma)
    return 0.5 * (mu.square() + sigma.square() - 1) - sigma.log()


def gaussian_kl(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)), summed over the latents: (B, Z) to (B,), in nats."""
    return gaussian_kl_per_latent(mu, sigma).sum(-1)


def categorical_kl_per_latent(logits: Tensor) -> Tensor:
    """KL(q(y|x) || uniform) of each categorical latent, log C minus the entropy of q.

    logits (..., C) of any size, not normalised. Returns (...), in nats, in 0..log C;
    a probability that rounds to 0 counts as 0 log 0 = 0, in the gradient too.
    Raises TypeError for integers, ValueError for fewer than two categories.
    """
    check_floating(logits, "logits")
    classes = logits.shape[-1] if logits.ndim else 0
    if classes < 2:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)} but its last axis must hold two "
            "or more categories"
        )
    log_probs = logits.log_softmax(-1)
    return math.log(classes) + (log_probs.exp() * log_probs).sum(-1)


def sample_gaussian(
    mu: Tensor,
    sigma: Tensor,
    generator: torch.Generator | None = None,
    samples: int | None = None,
) -> Tensor:
    """z = mu + sigma * eps with eps ~ N(0, I): the reparameterisation trick.

    mu, sigma (B, Z); a fresh eps for every latent of every example. Returns (B, Z), or
    (K, B, Z) for `samples` = K. (Kingma and Welling 2014, section 2.4)
    """
    shape = mu.shape if samples is None else (samples, *mu.shape)
    eps = torch.randn(shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + sigma * eps


class Elbo(NamedTuple):
    """The two halves of the bound: log_likelihood (B,) and kl_per_latent (B, Z)."""

    log_likelihood: Tensor
    kl_per_latent: Tensor

    @property
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)), (B,)."""
        return self.kl_per_latent.sum(-1)

    @property
    def elbo(self) -> Tensor:
        """E_q[log p(x|z)] - KL(q(z|x) || p(z)), (B,)."""
        return self.log_likelihood - self.kl


def check_samples(samples: int) -> None:
    """Raise ValueError if `samples` is below 1."""
    if samples < 1:
        raise ValueError(f"samples is {samples} but must be at least 1")


def elbo(model, x: Tensor, samples: int = 1, generator=None) -> Elbo:
    """The evidence lower bound of each x, with K samples of z and the exact KL.

    x (B, D). Returns an `Elbo` with log_likelihood (B,), averaged over the K samples,
    and kl_per_latent (B, Z), in nats; its `.elbo` is an unbiased estimate of the bound.
    Raises ValueError for samples < 1. (Kingma and Welling 2014, equation 7)
    """
    check_samples(samples)
    mu, sigma = model.encode(x)
    z = sample_gaussian(mu, sigma, generator, samples)  # (K, B, Z)
    log_likelihood = model.log_likelihood(x, z).mean(0)  # (B,)
    return Elbo(log_likelihood, gaussian_kl_per_latent(mu, sigma))


def negative_elbo(model, x: Tensor, generator=None) -> Tensor:
    """What a VAE minimises: minus the one-sample ELBO, (B, D) to (B,), in nats."""
    return -elbo(model, x, generator=generator).elbo


class MixedElbo(NamedTuple):
    """The parts of the bound with z and a category y, in nats.

    log_likelihood (B,), averaged over q(z|x) and q(y|x); kl_per_latent (B, Z) of the
    Gaussians; kl_category (B,).
    """

    log_likelihood: Tensor
    kl_per_latent: Tensor
    kl_category: Tensor

    @property
    def kl(self) -> Tensor:
        """KL(q(z|x) q(y|x) || p(z) p(y)), (B,)."""
        return self.kl_per_latent.sum(-1) + self.kl_category

    @property
    def elbo(self) -> Tensor:
        """E_q[log p(x|z, y)] - KL, (B,)."""
        return self.log_likelihood - self.kl


def mixed_elbo(model, x: Tensor, samples: int = 1, generator=None) -> MixedElbo:
    """The bound of a model with latents z and y: K samples of z, and a sum over all y.

    x (B, D); `model` has encode_both(x) -> (mu, sigma, logits) and, as
    MixedVariationalAutoEncoder, log_likelihood_of_all(x, z). Returns a `MixedElbo`.
    Raises ValueError for samples < 1. (Kingma et al. 2014, equation 7, where z too
    depends on y)
    """
    check_samples(samples)
    mu, sigma, logits = model.encode_both(x)
    z = sample_gaussian(mu, sigma, generator, samples)  # (K, B, Z)
    each = model.log_likelihood_of_all(x, z).mean(0)  # (B, C)
    return MixedElbo(
        (logits.softmax(-1) * each).sum(-1),
        gaussian_kl_per_latent(mu, sigma),
        categorical_kl_per_latent(logits),
    )


def negative_mixed_elbo(model, x: Tensor, generator=None) -> Tensor:
    """Minus the bound of `mixed_elbo` with one z: (B, D) to (B,), in nats."""
    return -mixed_elbo(model, x, generator=generator).elbo


class AnnealedMixedElbo:
    """A loss for `vaelib.training.fit`: in `mixed_elbo`, a falling beta times the KL.

    beta falls in a straight line from `start` to 1 over the first `steps` calls, and
    stays there; so pass `fit` another test_loss, and device="cpu": a CUDA graph would
    repeat its first beta for ever (RuntimeError).
    Raises ValueError unless start >= 1 and steps >= 1. (after Rose 1998, deterministic
    annealing)
    """

    def __init__(self, start: float, steps: int):
        if not 1 <= start < math.inf or steps < 1:
            raise ValueError(
                f"start is {start!r} and steps {steps!r} but both must be at least 1"
            )
        self.start, self.steps, self.calls = start, steps, 0

    @property
    def beta(self) -> float:
        """What the next call will weight the KL with."""
        return self.start + (1 - self.start) * min(1.0, self.calls / self.steps)

    def __call__(self, model, x: Tensor, generator=None) -> Tensor:
        if is_capturing(x):
            raise RuntimeError('beta cannot fall in a CUDA graph: use device="cpu"')
        parts = mixed_elbo(model, x, generator=generator)
        loss = self.beta * parts.kl - parts.log_likelihood
        self.calls += 1
        return loss


def importance_weighted_bound(model, x: Tensor, samples: int, generator=None) -> Tensor:
    """log (1/K) sum_k p(x, z_k) / q(z_k|x): tighter than the ELBO for K > 1.

    x (B, D). Returns (B,), in nats; with K = 1 it is an ELBO whose KL is sampled too.
    Raises ValueError for samples < 1. (Burda, Grosse and Salakhutdinov 2016)
    """
    check_samples(samples)
    mu, sigma = model.encode(x)
    z = sample_gaussian(mu, sigma, generator, samples)  # (K, B, Z)
    log_weight = (
        model.log_likelihood(x, z)
        + gaussian_log_likelihood(z, torch.zeros_like(mu), 1.0)
        - gaussian_log_likelihood(z, mu, sigma)
    )  # (K, B)
    return log_weight.logsumexp(0) - math.log(samples)


def squared_error(model, x: Tensor, generator=None) -> Tensor:
    """What an autoencoder minimises: |x - x_reconstructed|^2, (B, D) to (B,).

    Up to scale and a constant it is the negative log-likelihood of a Gaussian pixel.
    """
    return (x - model(x)).square().sum(-1)
