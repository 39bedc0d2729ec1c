"""The checks of notebook 07: the right answers, and each mistake by its name."""

import math

import pytest
import torch
import torch.nn.functional as F

from vaelib import checks


def gumbel(u):
    return -(-u.log()).log()


def shares(logits):
    return logits.softmax(0)


def inverse_cdf(logits, u):
    return torch.searchsorted(shares(logits).cumsum(0)[:-1], u[:, 0].contiguous())


def slopes(logits, f):
    q = shares(logits)
    return q * (f - q @ f)


def slopes_by_autograd(logits, f):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(logits.softmax(0) @ f, logits)[0]


def score(y, logits):
    return F.one_hot(y, len(logits)) - shares(logits)


def others(f):
    return (f.sum() - f) / (len(f) - 1)


def left_out(f, y, logits, baseline=None, scores=None):
    baseline = others(f) if baseline is None else baseline
    scores = score(y, logits) if scores is None else scores
    return ((f - baseline)[:, None] * scores).mean(0)


def left_out_by_loops(f, y, logits):
    f, y, total = f.tolist(), y.tolist(), [0.0] * len(logits)
    q, k = logits.softmax(0).tolist(), len(f)
    for i in range(k):
        baseline = sum(f[j] for j in range(k) if j != i) / (k - 1)
        for c in range(len(q)):
            total[c] += (f[i] - baseline) * ((y[i] == c) - q[c]) / k
    return total


def log_terms(logits, axis=-1):
    log_q = logits.log_softmax(axis)
    return (log_q.exp() * log_q).sum(-1)  # minus the entropy


def kl(logits):
    return (math.log(logits.shape[-1]) + log_terms(logits)).sum(-1)


def kl_with_nan(logits):
    q = logits.softmax(-1)
    return (q * (q * q.shape[-1]).log()).sum((1, 2))


def kl_with_a_grain(logits):
    q = logits.softmax(-1)
    return (q * ((q + 1e-10) * q.shape[-1]).log()).sum((1, 2))


GUMBEL = [
    (lambda x, u: (x + gumbel(u)).argmax(-1), "Right: the position"),
    (lambda x, u: (x - (-u.log()).log()).argmax(1), "Right"),
    (lambda x, u: (-u.log() / x.exp()).argmin(1), "Right"),
    (lambda x, u: (x.softmax(0).log() + gumbel(u)).argmax(1), "Right"),
    (lambda x, u: (x + gumbel(1 - u)).argmax(1), "Right"),
    (lambda x, u: (x.float() + gumbel(u.float())).max(1).indices, "Right"),
    (lambda x, u: (x + gumbel(u)).argmax(1).tolist(), "Right"),
    (lambda x, u: None, "Not attempted"),
    (lambda x, u: ..., "Not attempted"),
    (lambda x, u: (x + gumbel(u)).amax(1), "by argmax"),
    (lambda x, u: (x + gumbel(u)).max(1), "numbers are wanted"),
    (lambda x, u: x + gumbel(u), "which of them is the largest"),
    (lambda x, u: F.one_hot((x + gumbel(u)).argmax(1), 4), "one-hot vectors"),
    (lambda x, u: (x + gumbel(u)).softmax(1), "a relaxed draw"),
    (lambda x, u: (x + gumbel(u)).argmax(0), "the wrong axis"),
    (lambda x, u: (x + gumbel(u)).argmax(), "wants an axis"),
    (lambda x, u: (x + gumbel(u)).argmin(1), "the smallest wins"),
    (lambda x, u: x.argmax().expand(len(u)), "no noise in it"),
    (lambda x, u: gumbel(u).argmax(1), "the logits play no part"),
    (lambda x, u: (x + u).argmax(1), "uniform noise"),
    (lambda x, u: (x - u.log()).argmax(1), "one logarithm and sign too few"),
    (lambda x, u: (x + (-u.log()).log()).argmax(1), "upside down"),
    (lambda x, u: (x + u.log()).argmax(1), "log u is no Gumbel"),
    (lambda x, u: (x + u.logit()).argmax(1), "logistic"),
    (lambda x, u: (x + torch.special.ndtri(u)).argmax(1), "normal"),
    (lambda x, u: (x.softmax(0) + gumbel(u)).argmax(1), "add it to the logits"),
    (lambda x, u: (x * gumbel(u)).argmax(1), "multiplies the logits"),
    (lambda x, u: (x + gumbel(u[:, :1])).argmax(1), "no noise in it"),
    (lambda x, u: (-u.log() / x.exp()).argmax(1), "the longest wait"),
    (lambda x, u: (-u.log() * x.exp()).argmin(1), "the likely runner is fast"),
    (lambda x, u: (-u.log() / x).argmin(1), "not by the logit"),
    (lambda x, u: (x + gumbel(u)).argmax(1) + 1, "counted from 0"),
    (inverse_cdf, "inverse CDF"),
    (lambda x, u: (x - (u.log()).log()).argmax(1), "Not yet"),
    (lambda x, u: undefined, "stopped with NameError"),  # noqa: F821
]
SLOPES = [
    (slopes, "Right: q times f minus"),
    (slopes_by_autograd, "Right"),
    (lambda x, f: slopes(x.float(), f.float()), "Right"),
    (lambda x, f: slopes(x, f).tolist(), "Right"),
    (lambda x, f: (torch.diag(shares(x)) - shares(x).outer(shares(x))) @ f, "Right"),
    (lambda x, f: None, "Not attempted"),
    (lambda x, f: f, "in the probabilities"),
    (lambda x, f: shares(x) * f, "is to be subtracted from f"),
    (lambda x, f: f - shares(x) @ f, "q is missing: a category"),
    (lambda x, f: shares(x) * (f - f.mean()), "not the plain mean"),
    (lambda x, f: f - f.mean(), "and the mean is to be taken"),
    (lambda x, f: -slopes(x, f), "the sign: a category"),
    (lambda x, f: shares(x) @ f, "this is E[f] itself"),
    (lambda x, f: shares(x) * (1 - shares(x)) * f, "own slope only"),
    (lambda x, f: shares(x) * slopes(x, f), "q is there twice"),
    (lambda x, f: (1 - shares(x)) * slopes(x, f), "1 - q is too much"),
    (lambda x, f: x * (f - x @ f), "take the softmax first"),
    (lambda x, f: x.sigmoid() * (f - x.sigmoid() @ f), "not a sigmoid"),
    (lambda x, f: x.exp() * (f - x.exp() @ f), "divided by its sum"),
    (lambda x, f: x.log_softmax(0) * (f - shares(x) @ f), "log q stands"),
    (lambda x, f: shares(x) * (f + shares(x) @ f), "E[f] is added"),
    (lambda x, f: slopes(x, f).sum(), "one slope for each"),
    (lambda x, f: shares(x) * f - shares(x) @ f, "mind the parentheses"),
    (lambda x, f: shares(x) * f - shares(x) ** 2 * f.sum(), "not q^2 f"),
    (lambda x, f: torch.diag(shares(x)) - shares(x).outer(shares(x)), "the Jacobian"),
    (lambda x, f: slopes(x, f) * 7, "does not know"),
]
LEFT_OUT = [
    (left_out, "Right: each draw against"),
    (left_out_by_loops, "Right"),
    (lambda f, y, x: left_out(f.float(), y, x.float()), "Right"),
    (
        lambda f, y, x: left_out(f, y, x, f.mean()) * len(f) / (len(f) - 1),
        "Right",
    ),
    (lambda f, y, x: None, "Not attempted"),
    (lambda f, y, x: left_out(f, y, x, f.mean()), "leave it out"),
    (lambda f, y, x: left_out(f, y, x, (f.sum() - f) / len(f)), "K - 1 others"),
    (lambda f, y, x: left_out(f, y, x, 0), "no baseline"),
    (lambda f, y, x: left_out(f, y, x, f.sum() - f), "the sum of the others"),
    (lambda f, y, x: left_out(f, y, x, f.sum() / (len(f) - 1)), "the sum of *all*"),
    (lambda f, y, x: left_out(f, y, x, -others(f)), "the baseline is added"),
    (lambda f, y, x: -left_out(f, y, x), "the sign: f minus"),
    (lambda f, y, x: left_out(f, y, x) * len(f), "not summed"),
    (lambda f, y, x: (f - others(f))[:, None] * score(y, x), "average over the draws"),
    (lambda f, y, x: left_out(f, y, x).sum(), "do not sum over the categories"),
    (lambda f, y, x: left_out(f, y, x) * len(f) / (len(f) - 1), "too large by"),
    (lambda f, y, x: left_out(f, y, x, None, F.one_hot(y, 4)), "Right"),
    (lambda f, y, x: left_out(f, y, x, None, F.one_hot(y, 4) / shares(x)), "in q"),
    (lambda f, y, x: ((f - others(f)) * x.log_softmax(0)[y]).mean(), "log q first"),
    (
        lambda f, y, x: left_out(f, y, x, None, shares(x) * score(y, x)),
        "the draws see to that",
    ),
    (
        lambda f, y, x: left_out(f, y, x, None, F.one_hot(y, 4) - x),
        "Right",
    ),
    (
        lambda f, y, x: (f - others(f)).mean() * score(y, x).mean(0),
        "always 0",
    ),
    (lambda f, y, x: score(y, x).mean(0), "f is missing"),
    (
        lambda f, y, x: left_out(f, y, x, f.sum() + f / (len(f) - 1)),
        "mind the parentheses",
    ),
    (lambda f, y, x: 7, "the shape is"),
    (lambda f, y, x: left_out(f, y, x) * 7, "does not know"),
]
KL = [
    (kl, "Right: L log C"),
    (lambda x: kl(x).tolist(), "Right"),
    (lambda x: kl(x.float()), "Right"),
    (
        lambda x: (math.log(5) - torch.special.entr(x.softmax(-1)).sum(-1)).sum(1),
        "Right",
    ),
    (
        lambda x: torch.distributions.kl_divergence(
            torch.distributions.Categorical(logits=x),
            torch.distributions.Categorical(logits=torch.zeros(5)),
        ).sum(1),
        "Right",
    ),
    (lambda x: None, "Not attempted"),
    (lambda x: kl(x) / math.log(2), "in bits"),
    (lambda x: -kl(x), "never negative"),
    (lambda x: -log_terms(x).sum(1), "this is the entropy"),
    (lambda x: log_terms(x).sum(1), "minus the entropy: add"),
    (lambda x: math.log(5) + log_terms(x).sum(1), "is added once"),
    (lambda x: 15 * math.log(5) + log_terms(x).sum(1), "for each category"),
    (lambda x: (math.log(5) - log_terms(x)).sum(1), "subtract the entropy"),
    (lambda x: (math.log(5) + log_terms(x)).mean(1), "do not average"),
    (lambda x: math.log(5) + log_terms(x), "one number an image"),
    (lambda x: kl(x).sum(), "do not sum over the images"),
    (lambda x: kl(x).mean(), "do not average over the images"),
    (lambda x: kl(x) / 5, "over the categories, do not average"),
    (lambda x: (x.log_softmax(-1) + math.log(5)).sum((1, 2)), "weighted with q"),
    (lambda x: (math.log(3) + log_terms(x)).sum(1), "not of latents"),
    (lambda x: (-math.log(5) + log_terms(x)).sum(1), "subtracted twice"),
    (lambda x: (5 + log_terms(x)).sum(1), "C itself"),
    (lambda x: (math.log(5) + log_terms(x, 1)).sum(1), "the wrong axis"),
    (lambda x: (-math.log(5) - x.log_softmax(-1).mean(-1)).sum(1), "KL(uniform"),
    (kl_with_nan, "0 log 0"),
    (kl_with_a_grain, "Right"),
    (lambda x: x.sum((1, 2)), "Not yet"),
]


class HardForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, soft, hard):
        return hard.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope, None


class Halved(HardForward):
    @staticmethod
    def backward(ctx, slope):
        return slope / 2, None


STRAIGHT = [
    (lambda s, h: h + s - s.detach(), "Right: hard on the way"),
    (lambda s, h: s + (h - s).detach(), "Right"),
    (lambda s, h: (h - s).detach() + s, "Right"),
    (lambda s, h: s - s.detach() + h, "Right"),
    (HardForward.apply, "Right"),
    (lambda s, h: None, "Not attempted"),
    (lambda s, h: s, "the value is soft's"),
    (lambda s, h: s.detach(), "the value is soft's"),
    (lambda s, h: h + s, "subtract soft again"),
    (lambda s, h: h - s, "add soft again"),
    (lambda s, h: (s - h).detach(), "soft - hard"),
    (lambda s, h: s + (s - h).detach(), "the wrong way round"),
    (lambda s, h: h + (h - s), "the signs are exchanged"),
    (lambda s, h: h * s, "no product"),
    (lambda s, h: (h + s) / 2, "their mean"),
    (lambda s, h: s - s.detach(), "hard is to be added"),
    (lambda s, h: h.argmax(), "wanted is a vector"),
    (lambda s, h: h, "no gradient reaches"),
    (lambda s, h: h.clone().requires_grad_(), "another tensor"),
    (lambda s, h: (h + s - s.detach()).sum(), "the shape is"),
    (lambda s, h: (h + s - s.detach()).detach(), "no gradient reaches"),
    (lambda s, h: h + (s - s.detach()).detach(), "no gradient reaches"),
    (lambda s, h: (h + s - s.detach()).tolist(), "no gradient reaches"),
    (lambda s, h: h + s.detach() - s.detach(), "no gradient reaches"),
    (lambda s, h: h + s - s, "cancel"),
    (lambda s, h: h - s + s.detach(), "sign is turned"),
    (lambda s, h: h + 2 * (s - s.detach()), "comes twice"),
    (lambda s, h: h * (1 + s - s.detach()), "drawn category only"),
    (lambda s, h: h * s / s.detach(), "divided by its probability"),
    (Halved.apply, "not handed on"),
    (lambda s, h: h + 0.3, "does not know"),
    (lambda s, h: s.backward(), "stopped with RuntimeError"),
]
CASES = [
    (check, answer, said)
    for check, cases in [
        (checks.gumbel_max_draws, GUMBEL),
        (checks.exact_logit_gradient, SLOPES),
        (checks.leave_one_out_slopes, LEFT_OUT),
        (checks.kl_to_uniform, KL),
        (checks.straight_through, STRAIGHT),
    ]
    for answer, said in cases
]


@pytest.mark.parametrize(("check", "answer", "said"), CASES)
def test_verdict(verdict, check, answer, said):
    assert said in verdict(check, answer)


def test_the_truth_for_slopes_is_that_of_autograd():
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    f = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert torch.allclose(slopes(logits, f), slopes_by_autograd(logits, f))
