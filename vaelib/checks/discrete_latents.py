"""The exercises of notebook 07, discrete latents."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelib.checks.verdict import is_close, report, try_answer

LOGITS = torch.tensor([0.4, -0.7, 1.1, 0.0], dtype=torch.float64)  # of the checks


def _uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=noise, dtype=torch.float64)


def gumbel_max_draws(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """logits (C,) and u (K, C) uniform in (0, 1) to K categories, (K,)."""
    logits, u = LOGITS, _uniform((60, 4), 0)
    q, waits = logits.softmax(0), -u.log()
    gumbel = -waits.log()
    noisy = logits + gumbel
    truth = noisy.argmax(1).double()
    edges = q.cumsum(0)[:-1]
    mistakes = {
        "this is the noisy logit of the winner: wanted is its number, by argmax": (
            noisy.amax(1)
        ),
        "these are the noisy logits: which of them is the largest, in each row?": noisy,
        "one-hot vectors: wanted are the categories' numbers": F.one_hot(
            noisy.argmax(1), 4
        ).double(),
        "that is a relaxed draw: wanted is the position of the largest": (
            noisy.softmax(1)
        ),
        "argmax goes along the wrong axis: one category for each row of u": (
            noisy.argmax(0).double()
        ),
        "argmax wants an axis: one category for each row of u": (
            noisy.argmax().double()
        ),
        "the smallest wins here (or the longest wait): wanted is the largest": (
            noisy.argmin(1).double()
        ),
        "there is no noise in it: every draw is the most probable category": (
            logits.argmax().expand(60).double()
        ),
        "the logits play no part: every category is as likely": (u.argmax(1).double()),
        "uniform noise is not Gumbel noise: take -log(-log u)": (
            (logits + u).argmax(1).double()
        ),
        "one logarithm and sign too few: -log u is an exponential wait, no Gumbel": (
            (logits + waits).argmax(1).double()
        ),
        "the outer minus is missing: log(-log u) is a Gumbel upside down": (
            (logits - gumbel).argmax(1).double()
        ),
        "log u is no Gumbel noise: take -log(-log u)": (
            (logits + u.log()).argmax(1).double()
        ),
        "that noise is logistic: take -log(-log u)": (
            (logits + u.logit()).argmax(1).double()
        ),
        "that noise is normal: take -log(-log u)": (
            (logits + torch.special.ndtri(u)).argmax(1).double()
        ),
        "the noise is added to the probabilities: add it to the logits": (
            (q + gumbel).argmax(1).double()
        ),
        "the noise multiplies the logits: add it": (
            (logits * gumbel).argmax(1).double()
        ),
        "one noise for all categories moves them together: give each its own": (
            (logits + gumbel[:, :1]).argmax(1).double()
        ),
        "waits are to be divided by exp(logit): the likely runner is fast": (
            (waits * logits.exp()).argmin(1).double()
        ),
        "waits are to be divided by exp(logit), not by the logit": (
            (waits / logits).argmin(1).double()
        ),
        "numbers from 1: categories are counted from 0": truth + 1,
        "that is an inverse CDF, rows 0 only: right shares, but by Gumbel-max it "
        "wants one u for each category": (
            torch.searchsorted(edges, u[:, 0].contiguous(), right=True).double()
        ),
    }
    with_one_minus_u = (logits - (-torch.log1p(-u)).log()).argmax(1).double()
    report(
        try_answer(answer, logits, u),
        truth,
        mistakes,
        "the position of the largest of logit + Gumbel noise",
        as_right=[with_one_minus_u],  # 1 - u is as uniform as u
    )


def exact_logit_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """logits (C,) and f (C,) to the gradient of E_q[f] in the logits, (C,)."""
    logits, f = LOGITS, torch.tensor([2.0, -1.5, 0.7, 4.0], dtype=torch.float64)
    q = logits.softmax(0)
    mean = q @ f
    truth = q * (f - mean)
    mistakes = {
        "this is the gradient in the probabilities: carry on to the logits": f,
        "E[f] is to be subtracted from f: the other logits' share": q * f,
        "q is missing: a category that is seldom drawn matters little": f - mean,
        "subtract the mean under q, not the plain mean": q * (f - f.mean()),
        "q is missing, and the mean is to be taken under q": f - f.mean(),
        "the sign: a category that costs more than the mean has a positive slope": (
            -truth
        ),
        "this is E[f] itself: wanted is its gradient": mean,
        "q (1 - q) is a category's own slope only: the others move too": (
            q * (1 - q) * f
        ),
        "q is there twice": q * q * (f - mean),
        "1 - q is too much: the others are in E[f] already": q * (1 - q) * (f - mean),
        "take the softmax first: logits are no probabilities": (
            logits * (f - logits @ f)
        ),
        "q is to be a softmax, not a sigmoid": logits.sigmoid()
        * (f - logits.sigmoid() @ f),
        "exp(logits) must be divided by its sum": logits.exp() * (f - logits.exp() @ f),
        "log q stands where q belongs": q.log() * (f - mean),
        "E[f] is added: subtract it": q * (f + mean),
        "wanted is one slope for each logit: these add up to 0": truth.sum(),
        "do not average over the categories": truth.mean(),
        "E[f] is to be multiplied by q too: mind the parentheses": q * f - mean,
        "this is the gradient of f(q) - E[f]^2 / 2 or the like: subtract q E[f], not "
        "q^2 f": q * f - q * q * f.sum(),
        "this is the Jacobian of the softmax: multiply it by f": (
            torch.diag(q) - torch.outer(q, q)
        ),
    }
    right = "q times f minus its mean"
    report(try_answer(answer, logits, f), truth, mistakes, right)


def leave_one_out_slopes(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """f (K,) of drawn categories y (K,) and logits (C,) to an estimate (C,)."""
    logits, y = LOGITS, torch.tensor([2, 0, 2, 3, 1, 2])
    f = torch.tensor([0.5, 3.0, 1.5, -2.0, 4.0, 0.9], dtype=torch.float64)
    k, q = len(f), logits.softmax(0)
    score = F.one_hot(y, 4) - q  # (K, C)
    others = (f.sum() - f) / (k - 1)

    # Since f minus others adds up to 0, a score without its -q is as right.
    def estimate(weight, score=score):
        return (weight[:, None] * score).mean(0)

    truth = estimate(f - others)
    mistakes = {
        "each draw is in its own baseline: leave it out": estimate(f - f.mean()),
        "there are K - 1 others: divide their sum by K - 1": (
            estimate(f - (f.sum() - f) / k)
        ),
        "no baseline is subtracted": estimate(f),
        "the sum of the others is still to be divided by K - 1": (
            estimate(f - (f.sum() - f))
        ),
        "the sum of *all* is divided by K - 1: take one's own off first": (
            estimate(f - f.sum() / (k - 1))
        ),
        "the baseline is added: subtract it": estimate(f + others),
        "the sign: f minus baseline, and one-hot minus q": -truth,
        "the estimates are to be averaged over the draws, not summed": k * truth,
        "one estimate is wanted: average over the draws": (
            (f - others)[:, None] * score
        ),
        "one slope for each logit is wanted: do not sum over the categories": (
            truth.sum()
        ),
        "too large by K / (K - 1): average over all K, and leave out one thing only": (
            truth * k / (k - 1)
        ),
        "that is the slope of log q in q: the score in the logits is one-hot minus q": (
            estimate(f - others, F.one_hot(y, 4) / q)
        ),
        "that is log q(y) times f: differentiate log q first": (
            ((f - others) * q.log()[y]).mean()
        ),
        "the score is multiplied by q once more: the draws see to that": (
            estimate(f - others, q * score)
        ),
        "this is always 0: multiply draw by draw, then average": (
            (f - others).mean() * score.mean(0)
        ),
        "that is the score alone: f is missing": score.mean(0),
        "the subtraction comes before the division: mind the parentheses": (
            estimate(f - f.sum() - f / (k - 1))
        ),
        "that takes the draws for all there is to f: it is the exact gradient of "
        "their mean": q * (torch.zeros(4).double().index_add(0, y, f) - f.mean()),
    }
    report(
        try_answer(answer, f, y, logits),
        truth,
        mistakes,
        "each draw against the mean of the others, times its score",
    )


def kl_to_uniform(answer: Callable[[Tensor], Tensor]) -> None:
    """logits (B, L, C) to KL(q(y|x) || uniform), summed over the latents, (B,)."""
    logits = 2 * (_uniform((2, 3, 5), 1) - 0.5)
    logits[1, 2] = torch.tensor([0.0, 2000.0, 0.0, -2000.0, 0.0])  # q rounds to 0
    log_q = logits.log_softmax(-1)
    q = log_q.exp()
    entropy = torch.special.entr(q).sum(-1)  # (B, L)
    each = math.log(5) - entropy
    truth = each.sum(1)
    wrong_axis = logits.log_softmax(1)
    mistakes = {
        "this is in bits: wanted are nats, natural logarithms": truth / math.log(2),
        "the sign: a KL is never negative": -truth,
        "this is the entropy: the KL is L log C minus it": entropy.sum(1),
        "this is minus the entropy: add log C for each latent": -entropy.sum(1),
        "log C is added once: it belongs to each of the L latents": (
            math.log(5) - entropy.sum(1)
        ),
        "log C is added for each category: once a latent is enough": (
            3 * 5 * math.log(5) - entropy.sum(1)
        ),
        "log C and the entropy are added: subtract the entropy": (
            math.log(5) + entropy
        ).sum(1),
        "sum over the latents, do not average": each.mean(1),
        "sum over the latents: one number an image": each,
        "one number an image: do not sum over the images": truth.sum(),
        "one number an image: do not average over the images": truth.mean(),
        "sum over the categories, do not average": (
            (q * (log_q + math.log(5))).mean(-1).sum(1)
        ),
        "the terms are weighted with q: sum q log q, not log q": (
            (log_q + math.log(5)).sum((1, 2))
        ),
        "C is the number of categories, the last axis, not of latents": (
            (math.log(3) - entropy).sum(1)
        ),
        "log C is subtracted twice over: log(q / (1/C)) is log q + log C": (
            (-math.log(5) - entropy).sum(1)
        ),
        "the uniform has probability 1/C: C itself stands where log C belongs": (
            (5 - entropy).sum(1)
        ),
        "softmax goes along the wrong axis: over the categories, the last one": (
            (math.log(5) + (wrong_axis.exp() * wrong_axis).sum(-1)).sum(1)
        ),
        "this is KL(uniform || q): the weights are q, not 1/C": (
            (-math.log(5) - log_q.mean(-1)).sum(1)
        ),
        "a softmax is needed: these are logits, no probabilities": (
            (logits * (logits.abs() + 1e-300).log()).sum((1, 2)) + 3 * math.log(5)
        ),
    }
    attempt = try_answer(answer, logits)
    shaped = isinstance(attempt, Tensor) and attempt.shape == truth.shape
    if shaped and is_close(attempt[:1], truth[:1]) and attempt[1].isnan():
        attempt = (
            "0 log 0 came out as NaN, where it is to count as 0: take log_softmax, "
            "or torch.special.entr"
        )
    right = "L log C minus the entropies, in nats"
    report(attempt, truth, mistakes, right)


def straight_through(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """soft (C,) with a gradient and hard (C,) to the value of one, slope of other."""
    soft = LOGITS.softmax(0).requires_grad_()
    hard = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    weights = torch.tensor([0.3, -2.0, 1.7, 0.9], dtype=torch.float64)
    given = []

    def remembered():
        given.append(answer(soft, hard.clone()))
        return given[0]

    value = try_answer(remembered)
    mistakes = {
        "the value is soft's: wanted is hard's": soft.detach(),
        "the value is hard + soft: subtract soft again, detached": (
            hard + soft.detach()
        ),
        "the value is hard - soft: add soft again, detached": hard - soft.detach(),
        "the value is soft - hard: it should be hard's": soft.detach() - hard,
        "the value is 2 soft - hard: the difference is the wrong way round": (
            2 * soft.detach() - hard
        ),
        "the value is 2 hard - soft: the signs are exchanged": (
            2 * hard - soft.detach()
        ),
        "the value is hard * soft: no product, a sum": hard * soft.detach(),
        "the value is their mean: wanted is hard's": (hard + soft.detach()) / 2,
        "the value is 0: hard is to be added": 0 * hard,
        "that is the number of the category: wanted is a vector": (
            torch.tensor(2.0, dtype=torch.float64)
        ),
    }
    right = "hard on the way forward, soft on the way back"
    if isinstance(value, Tensor) and is_close(value, hard, 1e-5):
        value = _named_slope(given[0], soft, hard, weights)
        print(f"Not yet: {value}." if value else f"Right: {right}.")
    else:
        report(value, hard, mistakes, right)


def _named_slope(y, soft: Tensor, hard: Tensor, weights: Tensor) -> str:
    """What is wrong with the gradient that comes from y to soft; "" if nothing is."""
    value = "the value is hard's, but "
    if not (isinstance(y, Tensor) and y.requires_grad):
        return value + "no gradient reaches soft: all that holds it is detached"
    (slope,) = torch.autograd.grad((weights * y).sum(), soft, allow_unused=True)
    if slope is None:
        return value + "no gradient reaches soft: it is another tensor that has one"
    through_argmax = torch.where(hard > 0, weights, 0.0)
    known = {
        "": weights,
        "soft's two gradients cancel: detach the one that is subtracted": 0 * weights,
        "the gradient's sign is turned: detach the soft that is subtracted": -weights,
        "the gradient comes twice: let it through one soft only": 2 * weights,
        "the gradient goes to the drawn category only": through_argmax,
        "the gradient goes to the drawn category only, divided by its probability": (
            through_argmax / soft.detach()
        ),
    }
    for text, expected in known.items():
        if is_close(slope, expected, 1e-5):
            return text and value + text
    return value + "the gradient is not handed on to soft unchanged"
