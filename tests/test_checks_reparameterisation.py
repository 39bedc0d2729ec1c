"""The checks of notebook 03: the right answers, and each mistake by its name."""

import math

import pytest
import torch
from torch.distributions import Normal

from vaelib import checks

logit = torch.logit


def exponential(rate, u):
    z = -torch.log1p(-u) / rate
    return z, -z / rate


def score(values, z, mu, sigma):
    return values * ((z - mu) ** 2 / sigma**3 - 1 / sigma)


def leave_one_out(values, s, others=None):
    if others is None:
        others = (values.sum() - values) / (len(values) - 1)
    return ((values - others) * s).mean()


LOGISTIC = [
    (lambda m, s, u: m + s * logit(u), "Right: mu + s * logit(u)"),
    (lambda m, s, u: m + s * (u / (1 - u)).log(), "Right"),
    (lambda m, s, u: m - s * logit(u), "Right"),
    (
        lambda m, s, u: torch.stack(
            [m + s * math.log(p / (1 - p)) for p in u.tolist()]
        ),
        "Right",
    ),
    (
        lambda m, s, u: [
            m.item() + s.item() * math.log(p / (1 - p)) for p in u.tolist()
        ],
        "no gradient reaches",
    ),
    (lambda m, s, u: m.item() + s * logit(u), "no gradient reaches"),
    (lambda m, s, u: m + s.detach() * logit(u), "no gradient reaches"),
    (lambda m, s, u: (m + s * logit(u)).detach(), "no gradient reaches"),
    (lambda m, s, u: m + s * logit(u).detach(), "Right"),
    (lambda m, s, u: logit(u), "logit u alone"),
    (lambda m, s, u: m + s * u.log() / (1 - u).log(), "not a ratio of two"),
    (lambda m, s, u: m + s * u / (1 - u), "wants its logarithm"),
    (lambda m, s, u: (logit(u) - m) / s, "the other way"),
    (lambda m, s, u: None, "Not attempted"),
    (lambda m, s, u: ..., "Not attempted"),
    (lambda m, s, u: torch.sigmoid((u - m) / s), "wanted is its inverse"),
    (lambda m, s, u: m + s * torch.sigmoid(u), "sigmoid undoes logit"),
    (lambda m, s, u: m + s**2 * logit(u), "do not square it"),
    (lambda m, s, u: m + s**0.5 * logit(u), "no root of it"),
    (lambda m, s, u: s * logit(u), "mu is missing"),
    (lambda m, s, u: m + logit(u), "s is missing"),
    (lambda m, s, u: m + logit(u) / s, "do not divide"),
    (lambda m, s, u: s + m * logit(u), "have changed places"),
    (lambda m, s, u: m + s * u, "that is uniform"),
    (lambda m, s, u: m + s * u.log(), "log u is half of it"),
    (lambda m, s, u: s * (m + logit(u)), "not mu"),
    (lambda m, s, u: Normal(m, s).icdf(u), "not of the normal"),
    (lambda m, s, u: m + s * torch.log10(u / (1 - u)), "does not know"),
    (lambda m, s, u: (m + s * logit(u)).mean(), "the shape is"),
    (lambda m, s, u: m + s * logit(v), "stopped with NameError"),  # noqa: F821
]
EXPONENTIAL = [
    (exponential, "Right: z by the inverse CDF"),
    (lambda r, u: [part.tolist() for part in exponential(r, u)], "Right"),
    (lambda r, u: torch.stack(exponential(r, u)), "Right"),
    (lambda r, u: (-u.log() / r, u.log() / r**2), "Right"),
    (lambda r, u: None, "Not attempted"),
    (lambda r, u: (None, None), "Not attempted"),
    (lambda r, u: (exponential(r, u)[0], None), "return two tensors"),
    (lambda r, u: (exponential(r, u)[0], 1.0), "return two tensors"),
    (lambda r, u: exponential(r, u)[::-1], "z comes first"),
    (lambda r, u: (u.log() / r, u), "before log u"),
    (lambda r, u: (exponential(r, u)[0], 0 * u - 1 / r**2), "beside it is not"),
    (lambda r, u: (exponential(r, u)[0], u.log() / r**2), "from the same u"),
    (lambda r, u: (-u.log() / r, torch.log1p(-u) / r**2), "from the same u"),
    (lambda r, u: exponential(r, u)[0], "return two tensors"),
    (lambda r, u: (*exponential(r, u), 0), "Not yet"),
    (lambda r, u: (-torch.log1p(-u) * r, u), "do not multiply"),
    (lambda r, u: (torch.log1p(-u) / r, u), "must not be negative"),
    (lambda r, u: (1 - (-r * u).exp(), u), "this is the CDF"),
    (lambda r, u: (-torch.log1p(-u), u), "the rate is missing"),
    (lambda r, u: (-torch.log1p(u) / r, u), "log(1 + u) stands"),
    (lambda r, u: (torch.log1p(u) / r, u), "and its sign is lost"),
    (lambda r, u: (u, u), "does not know"),
    (lambda r, u: (exponential(r, u)[0], -exponential(r, u)[1]), "the sign: with"),
    (lambda r, u: (exponential(r, u)[0], torch.log1p(-u) / r), "once more"),
    (lambda r, u: (exponential(r, u)[0], torch.log1p(-u) / r**3), "too often"),
    (lambda r, u: (exponential(r, u)[0], 1 / (r * (1 - u))), "that is dz/du"),
    (lambda r, u: (exponential(r, u)[0], 0 * u), "it is not 0"),
    (lambda r, u: (exponential(r, u)[0], 7 * u), "z is right, dz/drate is not, in a"),
]
SCORE = [
    (score, "Right: f(z) times"),
    (lambda v, z, m, s: (score(v, z, m, s)).tolist(), "Right"),
    (lambda v, z, m, s: None, "Not attempted"),
    (lambda v, z, m, s: v * (z - m) / s**2, "the derivative in mu"),
    (lambda v, z, m, s: v * (z - m) ** 2 / s**3, "the -1/sigma is missing"),
    (lambda v, z, m, s: -score(v, z, m, s), "the sign: log q falls"),
    (lambda v, z, m, s: score(1, z, m, s), "f is missing"),
    (lambda v, z, m, s: v * ((z - m) ** 2 / s**2 - 1 / s), "divide by sigma^3"),
    (lambda v, z, m, s: score(v, z, m, s) * s, "in log sigma"),
    (lambda v, z, m, s: score(v, z, m, s) / (2 * s), "in the variance"),
    (lambda v, z, m, s: score(v, z, m, s).mean(), "do not average yet"),
    (lambda v, z, m, s: score(v, z, m, s).sum(), "do not sum"),
    (lambda v, z, m, s: v + score(1, z, m, s), "not added"),
    (lambda v, z, m, s: v * ((z - m) / s**2 - 1 / s), "is to be squared"),
    (lambda v, z, m, s: v * Normal(m, s).log_prob(z), "differentiate log q first"),
    (
        lambda v, z, m, s: score(v, z, m, s) * Normal(m, s).log_prob(z).exp(),
        "take its logarithm first",
    ),
    (lambda v, z, m, s: v * ((z - m) ** 2 / s**3 + 1 / s), "sign of -1/sigma"),
    (lambda v, z, m, s: v * (-((z - m) ** 2) / s**3 - 1 / s), "sign of the square"),
    (lambda v, z, m, s: v * ((z - m) ** 2 / (2 * s**3) - 1 / s), "a 1/2 too many"),
    (lambda v, z, m, s: v * ((z - m) ** 2 / s**3 - 1), "is -1/sigma, not -1"),
    (lambda v, z, m, s: v * (z - m) ** 2 / s**3 - 1 / s, "mind the parentheses"),
    (lambda v, z, m, s: v * (z - m) / s, "f times eps"),
    (lambda v, z, m, s: v, "does not know"),
]
LEAVE_ONE_OUT = [
    (leave_one_out, "Right: each sample against"),
    (lambda v, s: ((v - v.mean()) * s).sum() / (len(v) - 1), "Right"),
    (lambda v, s: [leave_one_out(v, s).item()], "Right"),
    (lambda v, s: None, "Not attempted"),
    (lambda v, s: leave_one_out(v, s, v.mean()), "leave it out"),
    (lambda v, s: leave_one_out(v, s, (v.sum() - v) / len(v)), "K - 1 others"),
    (lambda v, s: leave_one_out(v, s, 0), "no baseline"),
    (lambda v, s: leave_one_out(v, s, v.sum() - v), "the sum of the others"),
    (lambda v, s: leave_one_out(v, s, v.sum() / (len(v) - 1)), "the sum of *all*"),
    (lambda v, s: leave_one_out(v, s) * len(v), "averaged, not summed"),
    (lambda v, s: (v - (v.sum() - v) / (len(v) - 1)) * s, "average at the end"),
    (lambda v, s: -leave_one_out(v, s), "the sign: f minus baseline"),
    (lambda v, s: leave_one_out(v, torch.ones_like(s)), "always 0"),
    (
        lambda v, s: leave_one_out(v, s, -(v.sum() - v) / (len(v) - 1)),
        "the baseline is added",
    ),
    (
        lambda v, s: leave_one_out(v, s) * len(v) / (len(v) - 1),
        "too large by K / (K - 1)",
    ),
    (
        lambda v, s: (v - (v.sum() - v) / (len(v) - 1)).mean() * s.mean(),
        "always 0",
    ),
    (
        lambda v, s: (v * s - ((v * s).sum() - v * s) / (len(v) - 1)).mean(),
        "always 0",
    ),
    (lambda v, s: ((v - v.mean()) * s).sum(), "the sum, with the mean"),
    (lambda v, s: ((v - v.sum() - v / (len(v) - 1)) * s).mean(), "parentheses"),
    (
        lambda v, s: leave_one_out(v, s - (s.sum() - s) / (len(s) - 1)),
        "too large by K / (K - 1)",
    ),
    (lambda v, s: 7, "does not know"),
]
CASES = [
    (check, answer, said)
    for check, cases in [
        (checks.logistic_draws, LOGISTIC),
        (checks.exponential_draws, EXPONENTIAL),
        (checks.score_estimates, SCORE),
        (checks.leave_one_out_estimate, LEAVE_ONE_OUT),
    ]
    for answer, said in cases
]


@pytest.mark.parametrize(("check", "answer", "said"), CASES)
def test_verdict(verdict, check, answer, said):
    assert said in verdict(check, answer)


def test_planted_samplers_accepts_the_right_diagnosis_only(verdict):
    right = {"A": 2, "B": 1, "C": 3, "D": 0}
    assert verdict(checks.planted_samplers, right).count("Right") == 4
    for name, number in right.items():
        for guess in {0, 1, 2, 3} - {number}:
            said = verdict(checks.planted_samplers, right | {name: guess})
            assert said.count("Right") == 3 and f"{name}: Not yet" in said
    nothing = dict.fromkeys("ABCD")
    assert verdict(checks.planted_samplers, nothing).count("Not attempted") == 4
    for wrong in (4, -1, "2", True, 1.5, 1.0):
        assert "bare" in verdict(checks.planted_samplers, {"A": wrong})
    for wrong in (7, None, {"E": 1}):
        assert "dictionary" in verdict(checks.planted_samplers, wrong)


def test_samplers_have_the_mistakes_that_are_planted():
    mu = torch.full((20_000, 2), 3.0, requires_grad=True)
    sigma = torch.full((20_000, 2), 2.0, requires_grad=True)
    for name, sampler in checks.SAMPLERS.items():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            z = sampler(mu, sigma)
        assert z.shape == mu.shape and z.requires_grad == (name != "C")
        assert torch.equal(z[0], z[1]) == (name == "A")
        if name != "A":
            assert z.mean().item() == pytest.approx(3, abs=0.1)
            assert z.std().item() == pytest.approx(4 if name == "B" else 2, rel=0.02)
