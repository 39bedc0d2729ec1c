"""Estimators of the gradient of E[f(z)], z ~ N(mu, sigma^2), and its exact value.

Everywhere: f takes a tensor z and acts on each entry by itself, as torch.cos does; mu
and sigma are numbers. `samples` is K, or (R, K) for R repetitions of K samples. An
estimator returns one estimate for each sample, (K, 2) or (R, K, 2) in float64; its last
axis is d/dmu, d/dsigma, so that `.mean(-2)` averages the K samples.

All raise TypeError for an f that is no function or a mu or sigma that is no number, and
ValueError for sigma <= 0, samples < 1 or an f that changes the shape of z.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from vaelib.objectives import check_sigma

Function = Callable[[Tensor], Tensor]
Samples = int | tuple[int, ...]
CELLS, REACH = 384, 12  # the cells of the quadrature, between mu -+ 12 sigma


def _values(f: Function, z: Tensor) -> Tensor:
    # f(z), remembered by autograd if and only if z asks for it.
    with torch.set_grad_enabled(z.requires_grad):
        values = f(z)
        if not isinstance(values, Tensor) or values.shape != z.shape:
            is_tensor = isinstance(values, Tensor)
            found = tuple(values.shape) if is_tensor else type(values).__name__
            raise ValueError(
                f"f turned z of shape {tuple(z.shape)} into {found}: f must act on "
                "each entry of z by itself, as torch.cos or lambda z: z**2 do"
            )
        return values.to(z.dtype)


def _check_problem(f: Function, mu: float, sigma: float) -> None:
    if not callable(f):
        raise TypeError(f"f must be a function such as torch.cos, not {f!r}")
    for name, number in ("mu", mu), ("sigma", sigma):
        if not isinstance(number, Real) or not math.isfinite(number):
            raise TypeError(
                f"{name} must be a finite number, not {number!r}: "
                "use .item() on a tensor of one entry"
            )
    check_sigma(torch.tensor(sigma, dtype=torch.float64))
    _values(f, mu + sigma * torch.linspace(-1, 1, 3, dtype=torch.float64))


def _draw(f, mu, sigma, samples, generator, at_least=1) -> Tensor:
    # eps ~ N(0, 1), shaped as asked; all is checked before a number is drawn.
    _check_problem(f, mu, sigma)
    shape = samples if isinstance(samples, tuple) else (samples,)
    whole = shape and all(isinstance(n, Integral) and n >= 1 for n in shape)
    if not whole or shape[-1] < at_least:
        raise ValueError(
            f"samples is {samples} but must be a whole number of at least {at_least}, "
            "or a shape (R, K) that ends in one"
        )
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _pathwise(f: Function, mu: float, sigma: float, eps: Tensor) -> Tensor:
    z = (mu + sigma * eps).requires_grad_()
    values = _values(f, z)
    slope = torch.zeros_like(z)
    if values.requires_grad:
        ones = torch.ones_like(z)
        (slope,) = torch.autograd.grad(values, z, ones, materialize_grads=True)
    dz = torch.stack([torch.ones_like(eps), eps], -1)  # dz/dmu, dz/dsigma
    return slope.unsqueeze(-1) * dz


def pathwise(
    f: Function, mu: float, sigma: float, samples: Samples, generator=None
) -> Tensor:
    """f'(z) dz/dmu and f'(z) dz/dsigma, by autograd through z = mu + sigma * eps.

    Unbiased for a continuous f, kinks allowed. Where autograd finds no way from f(z)
    back to z, as in a step made by a comparison, the estimates are 0, whatever the
    gradient is.
    (Kingma and Welling 2014, section 2.4; Mohamed et al. 2020, section 5)
    """
    return _pathwise(f, mu, sigma, _draw(f, mu, sigma, samples, generator))


def _score(sigma: float, eps: Tensor) -> Tensor:
    # The derivatives of log N(z; mu, sigma^2) by mu and sigma, at z = mu + sigma * eps.
    return torch.stack([eps, eps.square() - 1], -1) / sigma


def _score_function(f, mu, sigma, eps, baseline) -> Tensor:
    values = _values(f, mu + sigma * eps).unsqueeze(-1)  # (..., K, 1)
    return (values - baseline) * _score(sigma, eps)


def _check_baseline(baseline: float | Tensor) -> Tensor:
    baseline = torch.as_tensor(baseline, dtype=torch.float64)
    if baseline.shape not in {(), (2,)}:
        raise ValueError(
            f"baseline has shape {tuple(baseline.shape)} but must be one number, or "
            "two, for d/dmu and d/dsigma: use leave_one_out for one a sample"
        )
    return baseline


def score_function(
    f: Function,
    mu: float,
    sigma: float,
    samples: Samples,
    generator=None,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """(f(z) - baseline) times the gradient of log N(z; mu, sigma^2); f may have jumps.

    baseline: a number, such as `expectation`, or two, such as `optimal_baseline`; the
    mean of the estimates does not depend on it. Raises ValueError for other shapes.
    (Williams 1992; Mohamed et al. 2020, section 4)
    """
    baseline = _check_baseline(baseline)
    eps = _draw(f, mu, sigma, samples, generator)
    return _score_function(f, mu, sigma, eps, baseline)


def leave_one_out(
    f: Function, mu: float, sigma: float, samples: Samples, generator=None
) -> Tensor:
    """The score function with the mean f of the K - 1 *other* samples as baseline.

    The K estimates of one repetition depend on each other; their mean is unbiased.
    Raises ValueError for K < 2. (Kool, van Hoof and Welling 2019)
    """
    eps = _draw(f, mu, sigma, samples, generator, at_least=2)
    values = _values(f, mu + sigma * eps).unsqueeze(-1)  # (..., K, 1)
    others = (values.sum(-2, keepdim=True) - values) / (eps.shape[-1] - 1)
    return (values - others) * _score(sigma, eps)


def measure_valued(
    f: Function, mu: float, sigma: float, samples: Samples, generator=None
) -> Tensor:
    """Differences of f between coupled draws from the two halves of dN/dmu, dN/dsigma.

    d/dmu: mu + sigma * R and mu - sigma * R, with one Rayleigh R. d/dsigma: a
    double-sided Maxwell M and a normal eps = M * U with U uniform in [0, 1]. f may have
    jumps. (Pflug 1989; Mohamed et al. 2020, sections 6 and 7.2)
    """
    eps = _draw(f, mu, sigma, samples, generator)
    rayleigh = (2 * torch.empty_like(eps).exponential_(generator=generator)).sqrt()
    # The lengths of two and three normals are Rayleigh's and Maxwell's. The first of
    # three, over their length, is uniform: Archimedes' theorem on the sphere.
    maxwell = torch.hypot(eps, rayleigh).copysign(eps)
    right, left = (_values(f, mu + sigma * r) for r in (rayleigh, -rayleigh))
    outer, inner = (_values(f, mu + sigma * e) for e in (maxwell, eps))
    to_mu = (right - left) / (sigma * math.sqrt(2 * math.pi))
    return torch.stack([to_mu, (outer - inner) / sigma], -1)


def finite_differences(
    f: Function,
    mu: float,
    sigma: float,
    samples: Samples,
    generator=None,
    h: float = 1e-3,
) -> Tensor:
    """(f(z+) - f(z-)) / 2h, where z+- has mu +- h, then sigma +- h, and the same eps.

    The bias is O(h^2); the variance grows as 1/h where f has a jump.
    Raises ValueError unless 0 < h < sigma. (Glasserman 2003, section 7.1)
    """
    _check_problem(f, mu, sigma)
    if not 0 < h < sigma:
        raise ValueError(f"h must lie between 0 and sigma = {sigma:.4g} but is {h:.4g}")
    eps = _draw(f, mu, sigma, samples, generator)
    by_mu = _values(f, mu + h + sigma * eps) - _values(f, mu - h + sigma * eps)
    by_sigma = _values(f, mu + (sigma + h) * eps) - _values(f, mu + (sigma - h) * eps)
    return torch.stack([by_mu, by_sigma], -1) / (2 * h)


def variance_with_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """The variance of independent estimates (N, 2), and its standard error, (2,) each.

    The error comes from the fourth central moment; N should be large. Average the K
    samples of a repetition first, `.mean(-2)`, if they depend on each other.
    """
    squares = (estimates - estimates.mean(0)).square()
    error = squares.std(0) / len(estimates) ** 0.5
    return estimates.var(0), error


# Exact values


def _breaks(f: Function, mu: float, sigma: float, ends: Tensor) -> Tensor:
    # The place of the jump or kink in each cell: of three overlapping halves, go on
    # with the one in which f bends most. Where f is smooth it is just some place.
    low, width = ends[:-1], (ends[1] - ends[0]).item()
    quarters = torch.linspace(0, 1, 5, dtype=torch.float64).unsqueeze(1)
    for _ in range(50):
        values = _values(f, mu + sigma * (low + width * quarters))  # (5, cells)
        most = values.diff(n=2, dim=0).abs().argmax(0)  # 0, 1 or 2
        low = low + width * most / 4
        width /= 2
    return low


def _quadrature(f: Function, mu: float, sigma: float) -> tuple[Tensor, Tensor]:
    """Nodes eps and weights, (N,), with sum(weights * g(eps)) the mean of g(eps).

    Gauss-Legendre with 8 nodes on both sides of each cell's break. Good to about 1e-10
    of the mean of |g| for an f that is smooth but for one jump or kink in each
    sigma / 16, and hardly beyond mu -+ 12 sigma.
    """
    _check_problem(f, mu, sigma)
    ends = torch.linspace(-REACH, REACH, CELLS + 1, dtype=torch.float64)
    breaks = _breaks(f, mu, sigma, ends)
    edges = torch.cat([torch.stack([ends[:-1], breaks], 1).flatten(), ends[-1:]])
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))
    half = edges.diff().unsqueeze(1) / 2  # (2 * cells, 1)
    eps = edges[:-1].unsqueeze(1) + half * (1 + nodes)
    density = (-eps.square() / 2).exp() / math.sqrt(2 * math.pi)
    return eps.flatten(), (half * weights * density).flatten()


def _variance(weights: Tensor, estimates: Tensor) -> Tensor:
    return weights @ (estimates - weights @ estimates).square()


def expectation(f: Function, mu: float, sigma: float) -> float:
    """The exact E[f(z)], by quadrature."""
    eps, weights = _quadrature(f, mu, sigma)
    return (weights @ _values(f, mu + sigma * eps)).item()


def exact_gradient(f: Function, mu: float, sigma: float) -> Tensor:
    """The exact d/dmu and d/dsigma of E[f(z)], (2,), by quadrature."""
    eps, weights = _quadrature(f, mu, sigma)
    return weights @ _score_function(f, mu, sigma, eps, 0.0)


def optimal_baseline(f: Function, mu: float, sigma: float) -> Tensor:
    """E[f s^2] / E[s^2] with the score s: the constants of least variance, (2,).

    (Greensmith, Bartlett and Baxter 2004)
    """
    eps, weights = _quadrature(f, mu, sigma)
    squared = _score(sigma, eps).square()  # (N, 2)
    values = _values(f, mu + sigma * eps)
    return (weights * values) @ squared / (weights @ squared)


def pathwise_variance(f: Function, mu: float, sigma: float) -> Tensor:
    """The exact variance of one `pathwise` estimate, (2,), by quadrature."""
    eps, weights = _quadrature(f, mu, sigma)
    return _variance(weights, _pathwise(f, mu, sigma, eps))


def score_function_variance(
    f: Function, mu: float, sigma: float, baseline: float | Tensor = 0.0
) -> Tensor:
    """The exact variance of one `score_function` estimate, (2,), by quadrature."""
    baseline = _check_baseline(baseline)
    eps, weights = _quadrature(f, mu, sigma)
    return _variance(weights, _score_function(f, mu, sigma, eps, baseline))
