"""The checks of notebook 06: the right answers, and each mistake by its name."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from vaelib import checks
from vaelib.checks import disentanglement
from vaelib.checks.verdict import ROUNDED

LOG_2, LOG_10 = math.log(2), math.log(10)


def sort(info, axis=0):
    return info.sort(axis, descending=True).values


def best_two(info, h):
    first, second = info.topk(2, dim=0).values
    return (first - second) / h


def by_numpy(info, h):
    ranked = np.sort(info.numpy(), axis=0)
    return (ranked[-1] - ranked[-2]) / h.numpy()


def rest(info):
    return info.sum(0) - info.amax(0)


GAP = [
    (best_two, "Right: best minus second best"),
    (by_numpy, "Right"),
    (lambda i, h: best_two(i, h).tolist(), "Right"),
    (lambda i, h: tuple(best_two(i, h)), "Right"),
    (lambda i, h: best_two(i.double(), h.double()), "Right"),
    (lambda i, h: best_two(i / LOG_2, h / LOG_2), "Right"),
    (lambda i, h: best_two(i / h, 1), "Right"),
    (lambda i, h: None, "Not attempted"),
    (lambda i, h: ..., "Not attempted"),
    (lambda i, h: best_two(i, 1), "still in nats"),
    (lambda i, h: best_two(i, i.amax(0)), "not by the best"),
    (lambda i, h: 1 - sort(i)[1] / sort(i)[0], "not by the best"),
    (lambda i, h: (i.amax(0) - i.mean(0)) / h, "not the average of all"),
    (lambda i, h: (i.amax(0) - rest(i) / 3) / h, "not the average of the others"),
    (lambda i, h: (i.amax(0) - sort(i)[1:].mean(0)) / h, "average of the others"),
    (lambda i, h: (i.amax(0) - rest(i)) / h, "not the sum of the others"),
    (lambda i, h: (i.amax(0) - i.amin(0)) / h, "not the worst"),
    (lambda i, h: (sort(i)[0] - sort(i)[2]) / h, "the third best"),
    (lambda i, h: i.amax(0) / h, "nothing is taken off"),
    (lambda i, h: sort(i)[1] / h, "the second best alone"),
    (lambda i, h: best_two(i.T, h), "along the wrong axis: for each"),
    (lambda i, h: best_two(i.T, 1), "along the wrong axis, and not"),
    (lambda i, h: (sort(i, 1)[0] - sort(i, 1)[1]) / h, "sorted along the factors"),
    (lambda i, h: (i[0] - i[1]) / h, "sort each column first"),
    (lambda i, h: (i.sort(0)[0][1] - i.sort(0)[0][0]) / h, "these are the worst two"),
    (lambda i, h: (i.sort(0)[0][0] - i.sort(0)[0][1]) / h, "two, and negative"),
    (lambda i, h: -best_two(i, h), "the sign"),
    (lambda i, h: best_two(i, h).mean(), "averaged too early"),
    (lambda i, h: best_two(i, h).sum(), "summed: one gap"),
    (lambda i, h: best_two(i, h.sum()), "not by that of all factors"),
    (lambda i, h: best_two(i, h.mean()), "not by the average"),
    (lambda i, h: best_two(i, 1) * h, "multiplied by the entropy"),
    (lambda i, h: best_two(i, h.log()), "no logarithm of it"),
    (lambda i, h: best_two(i, math.log(h.numel())), "not by log F"),
    (lambda i, h: best_two(i / LOG_2, h), "only one of them"),
    (lambda i, h: best_two(i, h / LOG_2), "only the entropy"),
    (lambda i, h: i, "the shape is (4, 4), wanted is (4,)"),
    (lambda i, h: best_two(i, 0 * h) * 0, "contains NaN"),
    (lambda i, h: h, "does not know"),
    (lambda i, h: info, "stopped with NameError"),  # noqa: F821
]


def tc(c):
    return 0.5 * (c.diagonal().log().sum() - c.logdet())


def tc_of_torch(c):
    zero, spread = torch.zeros(len(c)).double(), c.diagonal().double().sqrt()
    product = MultivariateNormal(zero, scale_tril=spread.diag())
    return kl_divergence(MultivariateNormal(zero, c.double()), product)


def tc_of_numpy(c):
    c = c.numpy()
    return (np.log(np.diag(c)).sum() - np.linalg.slogdet(c)[1]) / 2


def correlations(c):
    return c / c.diagonal().outer(c.diagonal()).sqrt()


def half_the_rest(c):
    return (c.sum() - c.trace()) / 2


def entropy(c):
    return 0.5 * (len(c) * (1 + math.log(2 * math.pi)) + c.logdet())


def reverse_tc(c):
    zero = torch.zeros(len(c)).double()
    product = MultivariateNormal(zero, c.diagonal().double().diag())
    return kl_divergence(product, MultivariateNormal(zero, c.double()))


def kl_to_the_prior(c):
    zero, one = torch.zeros(len(c)).double(), torch.eye(len(c)).double()
    prior = MultivariateNormal(zero, one)
    return kl_divergence(MultivariateNormal(zero, c.double()), prior)


def pairs(c):
    return -0.5 * (1 - correlations(c).square().tril(-1)).log().sum()


TOTAL_CORRELATION = [
    (tc, "Right: the latents' own entropies minus"),
    (tc_of_torch, "Right"),
    (tc_of_numpy, "Right"),
    (lambda c: [tc(c).item()], "Right"),
    (lambda c: tc(c).reshape(1, 1), "Right"),
    (lambda c: -0.5 * correlations(c).logdet(), "Right"),
    (lambda c: c.diagonal().sqrt().log().sum() - torch.slogdet(c)[1] / 2, "Right"),
    (lambda c: 0.5 * (c.diagonal().prod() / c.det()).log(), "Right"),
    (lambda c: sum(entropy(v.view(1, 1)) for v in c.diagonal()) - entropy(c), "Right"),
    (lambda c: round(tc(c).item(), 5), "Right"),
    (lambda c: None, "Not attempted"),
    (lambda c: -tc(c), "the sign"),
    (lambda c: 2 * tc(c), "1/2 is missing"),
    (lambda c: 0.5 * c.diagonal().log().sum() - c.logdet(), "belongs to log det C"),
    (lambda c: c.diagonal().log().sum() - 0.5 * c.logdet(), "twice log sigma_j"),
    (lambda c: 0.5 * (c.diagonal().sqrt().log().sum() - c.logdet()), "their root"),
    (lambda c: 0.5 * (c.diagonal().log().sum() - c.det()), "logarithm of det C"),
    (lambda c: 0.5 * (c.trace() - c.logdet()), "logarithm of each"),
    (lambda c: 0.5 * (c.trace() - c.det()), "neither has"),
    (lambda c: 0.5 * (c.diagonal().prod() - c.det()), "volumes"),
    (lambda c: 0.5 * c.diagonal().prod() / c.det(), "still to be taken"),
    (lambda c: 0.5 * (c.trace().log() - c.logdet()), "not the logarithm of the sum"),
    (lambda c: 0.5 * (c.diagonal().log().sum() - c.inverse().logdet()), "its inverse"),
    (kl_to_the_prior, "KL to N(0, I)"),
    (lambda c: -0.5 * c.logdet(), "the C_jj are missing"),
    (lambda c: 0.5 * c.diagonal().log().sum(), "log det C is missing"),
    (lambda c: tc(c) / LOG_2, "to base 2"),
    (lambda c: 0.5 * (c.diagonal().log10().sum() - c.det().log10()), "to base 10"),
    (half_the_rest, "they have signs"),
    (lambda c: 2 * half_the_rest(c), "each twice"),
    (lambda c: half_the_rest(c.abs()), "the sizes of the covariances"),
    (lambda c: half_the_rest(correlations(c)), "adds up the correlations"),
    (lambda c: half_the_rest(correlations(c) ** 2), "the squared correlations: good"),
    (lambda c: half_the_rest(correlations(c) ** 2) / 2, "half the squared"),
    (pairs, "information of each pair"),
    (entropy, "the entropy of the Gaussian"),
    (lambda c: entropy(c) + tc(c), "the latents' entropies: subtract"),
    (reverse_tc, "the wrong way round"),
    (lambda c: tc(c) / len(c), "averaged over the latents"),
    (lambda c: torch.linalg.eigvalsh(c).log().sum() - c.logdet(), "always 0"),
    (lambda c: c, "the shape is (3, 3), wanted is ()"),
    (lambda c: (-c).logdet(), "contains NaN"),
    (lambda c: 7.0, "does not know"),
    (lambda c: torch.slogdet(c).det, "stopped with AttributeError"),
]


def losses(ll, mi, tc, dw, beta):
    return -ll + beta * (mi + tc + dw), -ll + mi + beta * tc + dw


def first(change):
    """An answer whose second number is right."""
    return lambda *given: (change(*given), losses(*given)[1])


def second(change):
    return lambda *given: (losses(*given)[0], change(*given))


TWO_LOSSES = [
    (losses, "Right: beta on the whole KL"),
    (lambda *a: torch.tensor(losses(*a), dtype=torch.float32), "Right"),
    (lambda *a: [torch.tensor([value]) for value in losses(*a)], "Right"),
    (lambda *a: np.array(losses(*a)), "Right"),
    (lambda *a: torch.tensor(losses(*a)).view(2, 1), "Right"),
    (lambda *a: None, "Not attempted"),
    (lambda *a: (None, None), "Not attempted"),
    (lambda *a: (..., ...), "Not attempted"),
    (lambda *a: (losses(*a)[0], None), "return two numbers"),
    (lambda *a: losses(*a)[0], "return two numbers"),
    (lambda *a: (*losses(*a), 0.0), "return two numbers"),
    (lambda *a: losses(*a)[::-1], "changed places"),
    (lambda *a: [-value for value in losses(*a)], "the signs"),
    (lambda ll, *a: losses(-ll, *a), "to be subtracted, in both"),
    (lambda ll, *a: losses(0, *a), "missing in both"),
    (lambda ll, mi, tc, dw, b: (b * losses(ll, mi, tc, dw, 1)[0],) * 2, "as well"),
    (lambda *a: (losses(*a)[0],) * 2, "TCVAE's loss: beta on all three parts: that"),
    (lambda *a: (losses(*a)[1],) * 2, "VAE's loss: beta on the total correlation al"),
]
FIRST = [
    (lambda ll, mi, tc, dw, b: ll + b * (mi + tc + dw), "is to be subtracted"),
    (lambda ll, mi, tc, dw, b: ll - b * (mi + tc + dw), "the sign"),
    (lambda ll, mi, tc, dw, b: b * (mi + tc + dw), "is missing"),
    (lambda ll, mi, tc, dw, b: -ll + (b - 1) * (mi + tc + dw), "beta itself"),
    (lambda ll, mi, tc, dw, b: -ll + (b + 1) * (mi + tc + dw), "in the place of"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc + dw, "minus the ELBO"),
    (lambda ll, mi, tc, dw, b: -ll + b * mi + tc + dw, "mind the parentheses"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc + b * dw, "all three parts"),
    (lambda ll, mi, tc, dw, b: -ll + mi + b * (tc + dw), "the mutual information bel"),
    (lambda ll, mi, tc, dw, b: -ll + tc + b * (mi + dw), "the total correlation bel"),
    (lambda ll, mi, tc, dw, b: -ll + dw + b * (mi + tc), "the dimension-wise KL bel"),
    (lambda ll, mi, tc, dw, b: -ll + b * (tc + dw), "mutual information is left out"),
    (lambda ll, mi, tc, dw, b: -ll + b * (mi + dw), "total correlation is left out"),
    (lambda ll, mi, tc, dw, b: -ll + b * (mi + tc), "dimension-wise KL is left out"),
    (lambda ll, mi, tc, dw, b: -b * ll + mi + tc + dw, "went to log p(x|z)"),
    (lambda ll, mi, tc, dw, b: b * (-ll + mi + tc + dw), "as well"),
    (lambda ll, mi, tc, dw, b: -ll - b * (mi + tc + dw), "is a cost"),
    (lambda ll, mi, tc, dw, b: -ll + (mi + tc + dw) / b, "divided by beta"),
    (lambda ll, mi, tc, dw, b: 7.0, "does not know"),
]
SECOND = [
    (lambda ll, mi, tc, dw, b: ll + mi + b * tc + dw, "is to be subtracted"),
    (lambda ll, mi, tc, dw, b: ll - mi - b * tc - dw, "the sign"),
    (lambda ll, mi, tc, dw, b: mi + b * tc + dw, "log p(x|z) is missing"),
    (lambda ll, mi, tc, dw, b: -ll + mi + (b - 1) * tc + dw, "beside the whole KL"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc + dw + b * tc, "only beta - 1 of it"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc + dw, "minus the ELBO"),
    (lambda ll, mi, tc, dw, b: b * (-ll + mi + tc + dw), "beta on everything"),
    (lambda ll, mi, tc, dw, b: -ll + b * mi + tc + dw, "one wants to spare"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc + b * dw, "beta on the dimension-wise"),
    (lambda ll, mi, tc, dw, b: -ll + b * (mi + tc) + dw, "is to be spared"),
    (lambda ll, mi, tc, dw, b: -ll + mi + b * (tc + dw), "KL counts once"),
    (lambda ll, mi, tc, dw, b: -ll + b * (mi + dw) + tc, "all but the total"),
    (lambda ll, mi, tc, dw, b: -ll + b * tc + dw, "a known variant (alpha = 0)"),
    (lambda ll, mi, tc, dw, b: -ll - mi + b * tc + dw, "is rewarded here"),
    (lambda ll, mi, tc, dw, b: -ll + mi + b * tc, "dimension-wise KL is left out"),
    (lambda ll, mi, tc, dw, b: -ll + mi + dw, "it is what beta is for"),
    (lambda ll, mi, tc, dw, b: -ll + b * tc, "and dimension-wise KL are left out"),
    (lambda ll, mi, tc, dw, b: -ll + mi - b * tc + dw, "is a cost"),
    (lambda ll, mi, tc, dw, b: -ll + mi + tc / b + dw, "divided by beta"),
    (lambda ll, mi, tc, dw, b: 7.0, "does not know"),
]
TWO_LOSSES += [(first(change), f"beta-VAE's loss.*{said}") for change, said in FIRST]
TWO_LOSSES += [
    (second(change), f"beta-TCVAE's loss.*{said}") for change, said in SECOND
]


def lost(s, r):
    return 0.5 * (r**2 @ s**2).log().sum() - s.log().sum()


def turned(s, r):
    return r @ (s**2).diag() @ r.T


def zero_mean(covariance):
    mean = torch.zeros(len(covariance)).double()
    return MultivariateNormal(mean, covariance.double())


def diagonal_of(covariance):
    return zero_mean(covariance.diagonal().diag())


def lost_of_torch(s, r):
    both = turned(s, r)
    return kl_divergence(zero_mean(both), diagonal_of(both))


def lost_backwards(s, r):
    both = turned(s, r)
    return kl_divergence(diagonal_of(both), zero_mean(both))


def best_diagonal(s, r):
    both = turned(s, r)
    fit = zero_mean(both.inverse().diagonal().reciprocal().diag())
    return kl_divergence(fit, zero_mean(both))


def two_lists(s, r):
    wide = turned(s, r).diagonal().sqrt()
    return kl_divergence(
        Independent(Normal(0 * s, s), 1), Independent(Normal(0 * s, wide), 1)
    )


def lost_to_the_prior(s, r):
    return kl_divergence(zero_mean(turned(s, r)), zero_mean(torch.eye(len(s))))


def off_diagonal(s, r):
    return turned(s, r).tril(-1)


LOST_NATS = [
    (lost, "Right: the total correlation of the turned"),
    (lost_of_torch, "Right"),
    (lambda s, r: tc(turned(s, r)), "Right"),
    (lambda s, r: tc_of_numpy(turned(s, r)), "Right"),
    (lambda s, r: [lost(s, r).tolist()], "Right"),
    (lambda s, r: sum(0.5 * (r**2 @ s**2).log() - s.log()), "Right"),
    (lambda s, r: None, "Not attempted"),
    (lambda s, r: lost(s, r.T), "the other way: sum over"),
    (lambda s, r: tc(turned(s, r.T)), "the other way: sum over"),
    (lambda s, r: 0.5 * (r @ s**2).log().sum() - s.log().sum(), "square Q too"),
    (lambda s, r: 0.5 * (r**2 @ s).log().sum() - s.log().sum(), "variances add"),
    (lambda s, r: lost(s.sqrt(), r), "as if it were the variance, in both"),
    (lambda s, r: tc(turned(s.sqrt(), r)), "as if it were the variance, in both"),
    (lambda s, r: (r @ s).abs().log().sum() - s.log().sum(), "no arrow"),
    (lambda s, r: 0.5 * ((r @ s) ** 2).log().sum() - s.log().sum(), "no arrow"),
    (lambda s, r: 2 * lost(s, r), "factor 1/2 is missing"),
    (lambda s, r: (r**2 @ s**2).log().sum() - s.log().sum(), "its 1/2 is missing"),
    (lambda s, r: 0.5 * ((r**2 @ s**2).log() - s.log()).sum(), "no 1/2 before log"),
    (
        lambda s, r: 0.5 * (r**2 @ s**2).log().sum() - (s**2).log().sum(),
        "and the 1/2 belongs to it too",
    ),
    (lambda s, r: -lost(s, r), "the sign: a KL"),
    (lambda s, r: lost(s, r) + 2 * s.log().sum(), "the sign of sum log sigma"),
    (lambda s, r: 0.5 * (r**2 @ s**2).sum().log() - s.log().sum(), "of the sum"),
    (lambda s, r: 0.5 * (r**2 @ s**2).log().sum(), "half of log det S, is missing"),
    (lambda s, r: 0.5 * turned(s, r).logdet(), "half of log det S alone"),
    (lambda s, r: -0.5 * turned(s, r).logdet(), "and the sign"),
    (lambda s, r: 0.5 * (r**2 @ s**2).sum() - s.sum(), "logarithms are missing"),
    (lambda s, r: 0.5 * (r**2 @ s**2).log() - s.log(), "sum over the latents"),
    (lambda s, r: lost(s, r) / len(s), "averaged over the latents: sum"),
    (lambda s, r: lost(s, r) / LOG_2, "to base 2"),
    (lambda s, r: lost(s, r) / LOG_10, "to base 10"),
    (lambda s, r: 0.0, "leaves det S alone"),
    (
        lambda s, r: 0.5 * turned(s, r).logdet() - s.log().sum(),
        "leaves det S alone",
    ),
    (lost_backwards, "the wrong way round"),
    (best_diagonal, "the smallest KL(diagonal || turned)"),
    (two_lists, "between the two lists"),
    (lost_to_the_prior, "KL to N(0, I)"),
    (lambda s, r: off_diagonal(s, r).sum(), "adds up covariances"),
    (lambda s, r: off_diagonal(s, r).abs().sum(), "the sizes of covariances"),
    (lambda s, r: turned(s, r), "the shape is (3, 3), wanted is ()"),
    (lambda s, r: 7.0, "does not know"),
    (lambda s, r: r @ s.diag() @ s.T @ nothing, "stopped with"),  # noqa: F821
]
BREAK_EVEN = [
    (2.4, "Right: below 2.4"),
    (12 / 5, "Right"),
    ((177 - 171) / (6.5 - 4), "Right"),
    (torch.tensor([2.4]), "Right"),
    (np.float32(2.4), "Right"),
    (None, "Not attempted"),
    (..., "Not attempted"),
    ("2.4", "without quotes"),
    (2.5 / 6, "upside down: beta is"),
    (0.417, "upside down: beta is"),
    (-2.4, "the sign: B has"),
    (-2.5 / 6, "upside down, and the sign"),
    (348 / 10.5, "differences, not sums"),
    (6 / 10.5, "rates are to be subtracted"),
    (348 / 2.5, "distortions are to be subtracted"),
    (3.5, "the ELBOs are: beta need not"),
    (-3.5, "the ELBOs are, and beta need not"),
    (1.4, "beta - 1"),
    (3.4, "one too many"),
    (6, "difference of the distortions: divide"),
    (2.5, "difference of the rates: divide"),
    (15, "do not multiply"),
    (177 / 4, "of A alone"),
    (171 / 6.5, "of B alone"),
    (6.5 / 4, "ratio of the rates: subtract"),
    (4 / 6.5, "ratio of the rates, upside down"),
    (177 / 171, "ratio of the distortions: subtract"),
    (171 / 177, "ratio of the distortions, upside down"),
    (181 / 177.5, "ratio of the two ELBOs"),
    (1, "at beta = 1 the losses"),
    (0, "at beta = 0"),
    (2.0, "does not know"),
    ([2.4, 2.4], "the shape is (2,), wanted is ()"),
    (math.nan, "contains NaN"),
    ({"beta": 2.4}, "is a dict"),
]
CASES = [
    (check, answer, said)
    for check, cases in [
        (checks.gap, GAP),
        (checks.gaussian_total_correlation, TOTAL_CORRELATION),
        (checks.two_losses, TWO_LOSSES),
        (checks.lost_nats, LOST_NATS),
        (checks.break_even_beta, BREAK_EVEN),
    ]
    for answer, said in cases
]


@pytest.mark.parametrize(("check", "answer", "said"), CASES)
def test_verdict(verdict, check, answer, said):
    printed = verdict(check, answer)
    assert printed.count("\n") == 1
    for part in said.split(".*"):
        assert part in printed


def minus_elbo(ll, mi, tc, dw, beta):
    return -ll + mi + tc + dw


ATTEMPTS = {  # answers that bring a check to each of its lists of mistakes
    checks.gap: [lambda *a: 7.0],
    checks.gaussian_total_correlation: [lambda *a: 7.0],
    checks.two_losses: [losses, first(minus_elbo), second(minus_elbo)],
    checks.lost_nats: [lambda *a: 7.0],
    checks.break_even_beta: [7.0],
}


@pytest.mark.parametrize("check", ATTEMPTS)
def test_no_two_answers_look_alike_and_every_mistake_is_tested(monkeypatch, check):
    seen = {}

    def remember(answer, truth, mistakes, right, rounded=ROUNDED):
        seen.update(mistakes)
        assert all(value.isfinite().all() for value in mistakes.values())
        for (one, a), (other, b) in combinations(
            (mistakes | {right: truth}).items(), 2
        ):
            if a.shape == b.shape:
                apart = ((a - b).abs() / b.abs().clamp(min=1e-3)).max().item()
                assert apart > 2 * rounded, (one, other)

    monkeypatch.setattr(disentanglement, "report", remember)
    for answer in ATTEMPTS[check]:
        check(answer)
    named = [said.split(".*") for tested, _, said in CASES if tested is check]
    for text in seen:
        assert any(all(part in text for part in parts) for parts in named), text


def test_the_numbers_of_the_gaussian_checks_are_what_they_should_be(monkeypatch):
    given = {}
    for name, count in ("gaussian_total_correlation", 1), ("lost_nats", 2):
        monkeypatch.setattr(disentanglement, "report", lambda *a, **k: None)
        monkeypatch.setattr(
            disentanglement,
            "try_answer",
            lambda answer, *given_here, name=name: given.update({name: given_here}),
        )
        getattr(checks, name)(None)
        assert len(given[name]) == count
    (c,) = given["gaussian_total_correlation"]
    assert torch.equal(c, c.T) and torch.linalg.eigvalsh(c).min() > 0.05
    sigma, r = given["lost_nats"]
    torch.testing.assert_close(r @ r.T, torch.eye(3))
    assert r.det() > 0.99 and (sigma > 0).all() and (r @ sigma**2 > 0).all()
