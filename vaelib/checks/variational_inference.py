"""The exercises of notebook 02, variational inference."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib.checks.verdict import report, try_answer
from vaelib.objectives import LOG_2PI


def normalised_posterior(answer: Callable[[Tensor, float], Tensor]) -> None:
    """log p(x, z) on a grid of spacing dz, (G,), to the density p(z|x) on it, (G,)."""
    z, dz = torch.linspace(-4, 4, 41), 0.2
    log_joint = -0.5 * z.square() - 2 * (1.3 - z).square() - 1.1
    posterior = log_joint.softmax(0) / dz
    mistakes = {
        "this is p(x, z): divide it by its integral, the evidence p(x)": (
            log_joint.exp()
        ),
        "it sums to 1, but must integrate to 1: dz is missing": log_joint.softmax(0),
        "dz is on the wrong side: divide by the sum times dz": (
            log_joint.softmax(0) * dz
        ),
        "this is log p(z|x): still to be exponentiated": posterior.log(),
        "its top is 1: a density needs an area of 1, not a height of 1": (
            (log_joint - log_joint.max()).exp()
        ),
        "these are logarithms: dividing them divides no densities, take exp first": (
            log_joint / (log_joint.sum() * dz)
        ),
        "that is the mean, not the integral: sum, and multiply by dz": (
            log_joint.exp() / log_joint.exp().mean()
        ),
        "that is the mean, not the integral: the sum times dz is wanted below": (
            log_joint.exp() / (log_joint.exp().mean() * dz)
        ),
        "dz alone is no normaliser: divide by the integral": log_joint.exp() * dz,
        "dz alone is no normaliser: divide by the integral, the sum times dz": (
            log_joint.exp() / dz
        ),
        "logarithms are divided by subtracting log dz, and then comes exp": (
            log_joint.log_softmax(0) / dz
        ),
        "this is a logarithm, and log dz is missing in it": log_joint.log_softmax(0),
    }
    right = "an area of 1, whatever p(x) is"
    report(try_answer(answer, log_joint, dz), posterior, mistakes, right)


def elbo_from_draws(answer: Callable) -> None:
    """The mean over z ~ q (K,) of log p(x, z) - log q(z), for q = N(mu, sigma^2)."""
    mu, sigma = 0.4, 0.6
    z = mu + sigma * torch.tensor([-1.7, -0.9, -0.3, 0.1, 0.5, 1.1, 1.6])

    def log_joint(z):
        return -0.5 * torch.as_tensor(z).square() - (2 - torch.as_tensor(z)).abs() - 1.3

    def log_normal(z, mu, sigma):
        deviation = (torch.as_tensor(z) - mu) / sigma
        return -0.5 * deviation.square() - math.log(sigma) - LOG_2PI / 2

    log_q = log_normal(z, mu, sigma)
    log_weight = log_joint(z) - log_q
    truth = log_weight.mean()
    mistakes = {
        "the log of the average: wanted is the average of the logs": (
            log_weight.logsumexp(0) - math.log(len(z))
        ),
        "the draws are summed: average them": log_weight.sum(),
        "log q is missing: q must pay for being sure": log_joint(z).mean(),
        "log q is added: subtract it": (log_joint(z) + log_q).mean(),
        "the sign: this is what one minimises": -truth,
        "no average yet: one number is wanted": log_weight,
        "Normal wants sigma, and here it got its square": (
            log_joint(z) - log_normal(z, mu, sigma**2)
        ).mean(),
        "q itself is subtracted: take its logarithm": (
            log_joint(z) - log_q.exp()
        ).mean(),
        "the prior is in the place of q: the draws come from q": (
            log_joint(z) - log_normal(z, 0.0, 1.0)
        ).mean(),
        "only the centre of q is used: use the draws": (
            log_joint(mu) - log_normal(mu, mu, sigma)
        ),
        "the draws are averaged before the logs are taken: average last": (
            log_joint(z.mean()) - log_normal(z.mean(), mu, sigma)
        ),
        "log q lacks its -log(2 pi)/2: a density must have an area of 1": (
            truth - LOG_2PI / 2
        ),
        "log q lacks its -log(sigma): a narrow density is a high one": (
            truth - math.log(sigma)
        ),
    }
    entropy = math.log(sigma) + LOG_2PI / 2 + 0.5
    closed_kl = 0.5 * (mu**2 + sigma**2 - 1) - math.log(sigma)
    q_weighted = log_q.exp() * log_weight
    mistakes |= {
        "the draws come from q already: do not weight them by q again": (
            q_weighted.mean()
        ),
        "the draws come from q already: average them, do not weight and sum": (
            q_weighted.sum()
        ),
        "log p(x, z) holds the prior already: the KL to it counts it twice": (
            log_joint(z).mean() - closed_kl
        ),
        "this is the average of p/q itself, an estimate of p(x): logs first": (
            log_weight.exp().mean()
        ),
        "p is exponentiated and log q is not: take both as logarithms": (
            log_joint(z).exp() - log_q
        ).mean(),
        "the average of the logs is wanted, not the log of a sum": (
            log_weight.logsumexp(0)
        ),
        "mu and sigma have changed places": (
            log_joint(z) - log_normal(z, sigma, mu)
        ).mean(),
    }
    right = "the average of log p(x, z) - log q(z) over draws from q"
    attempt = try_answer(lambda *a: answer(log_joint, *a), mu, sigma, z)
    # The average of -log q is known, so its exact value is as right as the draws'.
    as_right = [log_joint(z).mean() + entropy]
    report(attempt, truth, mistakes, right, as_right=as_right)


def kl_between(answer: Callable[[float, float, float, float], float]) -> None:
    """KL(N(mu_a, sigma_a^2) || N(mu_b, sigma_b^2)), in nats."""
    a, b = (0.7, 0.5), (-0.4, 1.6)

    def kl(mu_a, sigma_a, mu_b, sigma_b):
        spread = (sigma_a**2 + (mu_a - mu_b) ** 2) / (2 * sigma_b**2)
        return math.log(sigma_b / sigma_a) + spread - 0.5

    distance, ratio = a[0] - b[0], a[1] / b[1]
    mistakes = {
        "the two are swapped: this is KL(b || a)": kl(*b, *a),
        "sigma is used as if it were the variance: square it": (
            kl(a[0], a[1] ** 0.5, b[0], b[1] ** 0.5)
        ),
        "sigma squared went where sigma belongs": kl(a[0], a[1] ** 2, b[0], b[1] ** 2),
        "this is the KL to N(0, 1): b has a mean and a spread of its own": (
            kl(*a, 0.0, 1.0)
        ),
        "the distance of the means is missing": kl(0.0, a[1], 0.0, b[1]),
        "square the distance of the means": (
            -math.log(ratio) + (a[1] ** 2 + distance) / (2 * b[1] ** 2) - 0.5
        ),
        "the distance of the means counts in units of sigma_b: divide by its square": (
            -math.log(ratio) + ratio**2 / 2 + distance**2 / 2 - 0.5
        ),
        "the sign of the logarithm: a narrower than b must cost more": (
            kl(*a, *b) + 2 * math.log(ratio)
        ),
        "log of the variances is twice log of the sigmas": (
            kl(*a, *b) - math.log(ratio)
        ),
        "the -1/2 is missing: equal distributions must cost nothing": (
            kl(*a, *b) + 0.5
        ),
        "the factor 1/2 is missing": (
            2 * math.log(b[1] / a[1]) + ratio**2 + (distance / b[1]) ** 2 - 1
        ),
        "the factor 1/2 belongs to the squares as well": (
            -math.log(ratio) + ratio**2 + (distance / b[1]) ** 2 - 0.5
        ),
        "the sign: a KL is never negative": -kl(*a, *b),
    }
    squares = (a[1] ** 2 + distance**2) / (2 * b[1] ** 2)
    mistakes |= {
        "division comes before multiplication: write / (2 * sigma_b**2)": (
            -math.log(ratio) + (a[1] ** 2 + distance**2) / 2 * b[1] ** 2 - 0.5
        ),
        "the denominator is 2 sigma_b squared: the square is missing": (
            -math.log(ratio) + (a[1] ** 2 + distance**2) / (2 * b[1]) - 0.5
        ),
        "the logarithm is of the sigmas, and whole: no 1/2 before it": (
            -0.5 * math.log(ratio) + squares - 0.5
        ),
        "the logarithm of the ratio of sigmas is missing": squares - 0.5,
        "sigma_a squared is missing beside the distance": (
            -math.log(ratio) + distance**2 / (2 * b[1] ** 2) - 0.5
        ),
        "square the difference of the means, not the means": (
            -math.log(ratio)
            + (a[1] ** 2 + a[0] ** 2 - b[0] ** 2) / (2 * b[1] ** 2)
            - 0.5
        ),
        "the means are to be subtracted, not added": (
            -math.log(ratio) + (a[1] ** 2 + (a[0] + b[0]) ** 2) / (2 * b[1] ** 2) - 0.5
        ),
        "subtract 1/2, not 1": -math.log(ratio) + squares - 1,
        "sigma_b is missing: b has a spread of its own": (
            0.5 * (distance**2 + a[1] ** 2 - 1) - math.log(a[1])
        ),
        "nats want the natural logarithm": -math.log10(ratio) + squares - 0.5,
        "nats want the natural logarithm, not that to base 2": (
            -math.log2(ratio) + squares - 0.5
        ),
    }
    report(
        try_answer(answer, *a, *b),
        torch.tensor(kl(*a, *b)),
        {text: torch.tensor(float(value)) for text, value in mistakes.items()},
        "0 only where the two are equal",
    )


def beta_of_two_means(answer: float) -> None:
    """The weight on the KL when 784 squared errors and 4 latents are averaged."""
    pixels, latents = 784, 4
    mistakes = {
        "a Gaussian's log-likelihood has a factor 1/2 before the squared error": (
            pixels / latents
        ),
        "the KL is averaged as well, over the latents": pixels / 2,
        "the KL is averaged, and the Gaussian has a factor 1/2": pixels,
        "the wrong way round: the squared error became the weaker one": (
            2 * latents / pixels
        ),
        "the 1/2 went the wrong way: half of the squared error is one nat": (
            2 * pixels / latents
        ),
        "averaging the KL makes it weaker, not stronger": pixels * latents / 2,
        "only the latents are averaged here, but the pixels are too": 1 / latents,
        "the balance did change: 784 pixels are averaged, but only 4 latents": 1,
        "both sums have become means: neither 784 nor 4 may be left out": 0.5,
        "the mean over the latents makes the KL weaker: divide by 4": pixels * latents,
        "that is a alone: beta holds b as well, and the 2 sigma_x^2": 1 / pixels,
        "that is 2 b/a upside down, or a few factors short: beta = b / (2 a)": 8,
        "two factors 1/2 where one is due": pixels / latents / 4,
    }
    report(
        try_answer(lambda: answer),
        torch.tensor(pixels / latents / 2),
        {text: torch.tensor(float(value)) for text, value in mistakes.items()},
        "multiply the loss by 392, and 98 is what stands before the summed KL",
    )


def kl_of_linear_units(answer: Callable[[Tensor, float], Tensor]) -> None:
    """Eigenvalues (Z,) and sigma_x to each unit's mean KL in the best linear VAE."""
    eigenvalues, sigma_x = torch.tensor([5.0, 2.0, 0.7, 0.5, 0.2, 0.05]), 0.8
    ratio = eigenvalues / sigma_x**2
    truth = (0.5 * ratio.log()).clamp(min=0)
    mistakes = {
        "a KL is never negative: what lies below sigma_x^2 is dead, at 0": (
            0.5 * ratio.log()
        ),
        "the factor 1/2 is missing": ratio.log().clamp(min=0),
        "eigenvalues are variances: compare them with sigma_x squared": (
            (0.5 * (eigenvalues / sigma_x).log()).clamp(min=0)
        ),
        "the ratio is upside down: the large eigenvalues must live": (
            (-0.5 * ratio.log()).clamp(min=0)
        ),
        "the noise is taken off the eigenvalue: in the KL all of it counts": (
            (0.5 * (ratio - 1).clamp(min=1e-9).log()).clamp(min=0)
        ),
        "that is the ratio itself: its logarithm is in nats": 0.5 * ratio,
        "that is half the excess over the noise: take the logarithm of the ratio": (
            (0.5 * (ratio - 1)).clamp(min=0)
        ),
        "abs makes the dead units live again: set what is negative to 0": (
            (0.5 * ratio.log()).abs()
        ),
        "that is log2: nats want the natural logarithm": (
            (0.5 * ratio.log2()).clamp(min=0)
        ),
        "the units are summed already: keep one number a unit": truth.sum(),
        "the factor 1/2 is missing, and a KL is never negative": ratio.log(),
        "sigma_x is to be squared, and a KL is never negative": (
            0.5 * (eigenvalues / sigma_x).log()
        ),
        "the formula is right, the threshold is not: it is sigma_x squared": (
            torch.where(eigenvalues > sigma_x, 0.5 * ratio.log(), 0.0)
        ),
        "one number for every unit, dead ones too: 0 for those": truth[truth > 0],
        "that says who lives: wanted is how many nats each": (truth > 0).float(),
        "nats want the natural logarithm": (0.5 * ratio.log10()).clamp(min=0),
    }
    right = "a unit lives exactly where its eigenvalue is above sigma_x^2"
    report(try_answer(answer, eigenvalues, sigma_x), truth, mistakes, right)
