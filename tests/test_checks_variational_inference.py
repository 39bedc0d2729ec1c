"""The checks of notebook 02: the right answers, and each mistake by its name."""

import math

import pytest
import torch
from torch.distributions import Normal

from vaelib import checks


def kl(mu_a, sigma_a, mu_b, sigma_b):
    ratio, distance = sigma_a / sigma_b, (mu_a - mu_b) / sigma_b
    return 0.5 * (ratio**2 + distance**2 - 1) - math.log(ratio)


POSTERIOR = [
    (lambda p, dz: p.softmax(0) / dz, "Right: an area of 1"),
    (lambda p, dz: p.exp() / (p.exp().sum() * dz), "Right"),
    (lambda p, dz: (p - p.logsumexp(0) - math.log(dz)).exp().tolist(), "Right"),
    (lambda p, dz: None, "Not attempted"),
    (lambda p, dz: ..., "Not attempted"),
    (lambda p, dz: p.exp(), "divide it by its integral"),
    (lambda p, dz: p.softmax(0), "it sums to 1"),
    (lambda p, dz: p.exp() / p.exp().sum() * dz, "on the wrong side"),
    (lambda p, dz: p - p.logsumexp(0) - math.log(dz), "still to be exponentiated"),
    (lambda p, dz: p.exp() / p.exp().max(), "its top is 1"),
    (lambda p, dz: p / (p.sum() * dz), "these are logarithms"),
    (lambda p, dz: p.exp() / p.exp().mean(), "that is the mean"),
    (lambda p, dz: p.exp() / p.exp().mean() / dz, "is wanted below"),
    (lambda p, dz: p.exp() * dz, "dz alone is no normaliser"),
    (lambda p, dz: p.exp() / dz, "dz alone is no normaliser"),
    (lambda p, dz: p.log_softmax(0) / dz, "by subtracting log dz"),
    (lambda p, dz: p.log_softmax(0), "log dz is missing in it"),
    (lambda p, dz: p.exp().sum() * dz, "the shape is"),
    (lambda p, dz: 3 * p.softmax(0), "does not know"),
    (lambda p, dz: p.exp() / 0 * 0, "contains NaN"),
]
ELBO = [
    (lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z)).mean(), "Right"),
    (lambda f, m, s, z: sum(f(z) - Normal(m, s).log_prob(z)) / len(z), "Right"),
    (
        lambda f, m, s, z: (
            f(z).mean()
            + math.log(s)
            + math.log(2 * math.pi) / 2
            + ((z - m) ** 2).mean() / (2 * s**2)
        ),
        "Right",
    ),
    (lambda f, m, s, z: None, "Not attempted"),
    (
        lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z)).exp().mean().log(),
        "the log of the average",
    ),
    (lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z)).sum(), "are summed"),
    (lambda f, m, s, z: f(z).mean(), "log q is missing"),
    (lambda f, m, s, z: (f(z) + Normal(m, s).log_prob(z)).mean(), "log q is added"),
    (lambda f, m, s, z: (Normal(m, s).log_prob(z) - f(z)).mean(), "the sign"),
    (lambda f, m, s, z: f(z) - Normal(m, s).log_prob(z), "no average yet"),
    (lambda f, m, s, z: (f(z) - Normal(m, s**2).log_prob(z)).mean(), "its square"),
    (
        lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z).exp()).mean(),
        "q itself is subtracted",
    ),
    (
        lambda f, m, s, z: (f(z) - Normal(0.0, 1.0).log_prob(z)).mean(),
        "in the place of q",
    ),
    (
        lambda f, m, s, z: f(m) - Normal(m, s).log_prob(torch.tensor(m)),
        "only the centre of q",
    ),
    (
        lambda f, m, s, z: f(z.mean()) - Normal(m, s).log_prob(z.mean()),
        "averaged before the logs",
    ),
    (
        lambda f, m, s, z: (f(z) + ((z - m) / s) ** 2 / 2 + math.log(s)).mean(),
        "lacks its -log(2 pi)/2",
    ),
    (
        lambda f, m, s, z: (
            f(z) + ((z - m) / s) ** 2 / 2 + math.log(2 * math.pi) / 2
        ).mean(),
        "lacks its -log(sigma)",
    ),
    (lambda f, m, s, z: f(z).mean() + Normal(m, s).entropy(), "Right"),
    (
        lambda f, m, s, z: (
            Normal(m, s).log_prob(z).exp() * (f(z) - Normal(m, s).log_prob(z))
        ).mean(),
        "do not weight them",
    ),
    (
        lambda f, m, s, z: (
            Normal(m, s).log_prob(z).exp() * (f(z) - Normal(m, s).log_prob(z))
        ).sum(),
        "do not weight and sum",
    ),
    (
        lambda f, m, s, z: f(z).mean() - 0.5 * (m**2 + s**2 - 1) + math.log(s),
        "counts it twice",
    ),
    (
        lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z)).exp().mean(),
        "an estimate of p(x)",
    ),
    (
        lambda f, m, s, z: (f(z).exp() - Normal(m, s).log_prob(z)).mean(),
        "take both as logarithms",
    ),
    (
        lambda f, m, s, z: (f(z) - Normal(m, s).log_prob(z)).logsumexp(0),
        "not the log of a sum",
    ),
    (
        lambda f, m, s, z: (f(z) - Normal(s, m).log_prob(z)).mean(),
        "have changed places",
    ),
    (lambda f, m, s, z: 100.0, "does not know"),
    (lambda f, m, s: 0.0, "stopped with TypeError"),
]
KL = [
    (kl, "Right: 0 only where the two are equal"),
    (
        lambda *v: torch.distributions.kl_divergence(
            Normal(*map(torch.tensor, v[:2])), Normal(*map(torch.tensor, v[2:]))
        ),
        "Right",
    ),
    (lambda *v: None, "Not attempted"),
    (lambda a, s, b, t: kl(b, t, a, s), "the two are swapped"),
    (lambda a, s, b, t: kl(a, s**0.5, b, t**0.5), "as if it were the variance"),
    (lambda a, s, b, t: kl(a, s**2, b, t**2), "sigma squared went where sigma"),
    (lambda a, s, b, t: kl(a, s, 0.0, 1.0), "this is the KL to N(0, 1)"),
    (lambda a, s, b, t: kl(0.0, s, 0.0, t), "distance of the means is missing"),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + a - b) / (2 * t**2) - 0.5,
        "square the distance",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + s**2 / (2 * t**2) + (a - b) ** 2 / 2 - 0.5,
        "counts in units of sigma_b",
    ),
    (
        lambda a, s, b, t: math.log(s / t) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5,
        "the sign of the logarithm",
    ),
    (
        lambda a, s, b, t: (
            math.log(t**2 / s**2) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5
        ),
        "log of the variances",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2),
        "the -1/2 is missing",
    ),
    (lambda *v: 2 * kl(*v), "the factor 1/2 is missing"),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a - b) ** 2) / t**2 - 0.5,
        "belongs to the squares as well",
    ),
    (lambda *v: -kl(*v), "a KL is never negative"),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a - b) ** 2) / 2 * t**2 - 0.5,
        "division comes before",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t) - 0.5,
        "the square is missing",
    ),
    (
        lambda a, s, b, t: (
            math.log(t / s) / 2 + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5
        ),
        "no 1/2 before it",
    ),
    (
        lambda a, s, b, t: (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5,
        "ratio of sigmas is missing",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (a - b) ** 2 / (2 * t**2) - 0.5,
        "sigma_a squared is missing",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + a**2 - b**2) / (2 * t**2) - 0.5,
        "not the means",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a + b) ** 2) / (2 * t**2) - 0.5,
        "subtracted, not added",
    ),
    (
        lambda a, s, b, t: math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 1,
        "subtract 1/2, not 1",
    ),
    (
        lambda a, s, b, t: 0.5 * ((a - b) ** 2 + s**2 - 1) - math.log(s),
        "b has a spread of its own",
    ),
    (
        lambda a, s, b, t: math.log10(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5,
        "the natural logarithm",
    ),
    (
        lambda a, s, b, t: math.log2(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5,
        "not that to base 2",
    ),
    (lambda *v: 7.0, "does not know"),
]
BETA = [
    (98, "Right: multiply the loss by 392"),
    (784 / 8, "Right"),
    ([98.0], "Right"),
    (None, "Not attempted"),
    (196, "factor 1/2 before the squared error"),
    (392, "the KL is averaged as well"),
    (784, "averaged, and the Gaussian"),
    (8 / 784, "the wrong way round"),
    (1 / 98, "the wrong way round"),
    (784 / 2, "averaged as well"),
    (2 * 784 / 4 * 1.0, "averaged as well"),
    (1568, "weaker, not stronger"),
    (0.25, "but the pixels are too"),
    (0.0102, "the wrong way round"),
    (0.5, "neither 784 nor 4"),
    (3136, "divide by 4"),
    (1 / 784, "that is a alone"),
    (8, "upside down"),
    (49, "where one is due"),
    (1, "the balance did change"),
    (3, "does not know"),
    ("98", "without quotes"),
]
UNITS = [
    (lambda e, s: (0.5 * (e / s**2).log()).clamp(min=0), "Right: a unit lives"),
    (lambda e, s: [max(0.0, math.log(v**0.5 / s)) for v in e.tolist()], "Right"),
    (lambda e, s: None, "Not attempted"),
    (lambda e, s: 0.5 * (e / s**2).log(), "a KL is never negative"),
    (lambda e, s: (e / s**2).log().clamp(min=0), "factor 1/2 is missing"),
    (lambda e, s: (0.5 * (e / s).log()).clamp(min=0), "sigma_x squared"),
    (lambda e, s: (0.5 * (s**2 / e).log()).clamp(min=0), "upside down"),
    (
        lambda e, s: (0.5 * ((e - s**2).clamp(min=1e-9) / s**2).log()).clamp(min=0),
        "the noise is taken off",
    ),
    (lambda e, s: 0.5 * e / s**2, "the ratio itself"),
    (lambda e, s: (0.5 * (e / s**2 - 1)).clamp(min=0), "half the excess"),
    (lambda e, s: (0.5 * (e / s**2).log()).abs(), "live again"),
    (lambda e, s: (0.5 * (e / s**2).log2()).clamp(min=0), "that is log2"),
    (lambda e, s: (0.5 * (e / s**2).log()).clamp(min=0).sum(), "summed already"),
    (lambda e, s: (e / s**2).log(), "missing, and a KL is never"),
    (lambda e, s: 0.5 * (e / s).log(), "squared, and a KL is never"),
    (
        lambda e, s: torch.where(e > s, 0.5 * (e / s**2).log(), 0.0),
        "the threshold is not",
    ),
    (lambda e, s: 0.5 * (e[e > s**2] / s**2).log(), "dead ones too"),
    (lambda e, s: e > s**2, "that says who lives"),
    (lambda e, s: (0.5 * (e / s**2).log10()).clamp(min=0), "natural logarithm"),
    (lambda e, s: e, "does not know"),
]
CASES = [
    (check, answer, said)
    for check, cases in [
        (checks.normalised_posterior, POSTERIOR),
        (checks.elbo_from_draws, ELBO),
        (checks.kl_between, KL),
        (checks.beta_of_two_means, BETA),
        (checks.kl_of_linear_units, UNITS),
    ]
    for answer, said in cases
]


@pytest.mark.parametrize(("check", "answer", "said"), CASES)
def test_verdict(verdict, check, answer, said):
    assert said in verdict(check, answer)


def test_the_check_gives_draws_of_q_and_a_usable_function(verdict):
    given = []
    verdict(checks.elbo_from_draws, lambda *arguments: given.extend(arguments))
    log_joint, mu, sigma, z = given
    assert abs(z.mean() - mu) < sigma and z.ndim == 1
    assert log_joint(z).shape == z.shape and log_joint(0.5).shape == ()
