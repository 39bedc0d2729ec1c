"""The exercises of notebook 03, the reparameterisation trick."""

from collections.abc import Callable

import torch
from torch import Tensor, distributions

from vaelib.checks.verdict import is_close, report, report_diagnosis, try_answer

UNIFORM = torch.tensor([0.03, 0.21, 0.4, 0.55, 0.78, 0.96])  # dice for the checks


def logistic_draws(answer: Callable[[float, float, Tensor], Tensor]) -> None:
    """u (K,) uniform in (0, 1) to z (K,), logistic with location mu and scale s."""
    mu, s, u = 1.5, 0.4, UNIFORM
    z = mu + s * torch.logit(u)
    mistakes = {
        "this is the CDF at u: wanted is its inverse": torch.sigmoid((u - mu) / s),
        "sigmoid undoes logit: wanted is logit of u": mu + s * torch.sigmoid(u),
        "s is a scale already: do not square it": mu + s**2 * torch.logit(u),
        "s is a scale already: no root of it": mu + s**0.5 * torch.logit(u),
        "mu is missing: these lie around 0": s * torch.logit(u),
        "s is missing: these spread as if s were 1": mu + torch.logit(u),
        "multiply by s, do not divide": mu + torch.logit(u) / s,
        "mu and s have changed places": s + mu * torch.logit(u),
        "that is uniform around mu: u must go through the inverse CDF": mu + s * u,
        "log u is half of it: logit u is log u - log(1 - u)": mu + s * u.log(),
        "s multiplies logit u only, not mu": s * (mu + torch.logit(u)),
        "u must go through the inverse CDF of the logistic, not of the normal": (
            mu + s * torch.special.ndtri(u)
        ),
        "that is logit u alone: shift and stretch it": torch.logit(u),
        "log(u / (1 - u)) is one logarithm, not a ratio of two": (
            mu + s * u.log() / (1 - u).log()
        ),
        "u / (1 - u) wants its logarithm": mu + s * u / (1 - u),
        "that goes the other way, from z to u: solve it for z": (
            (torch.logit(u) - mu) / s
        ),
    }
    leaves = torch.tensor(mu, requires_grad=True), torch.tensor(s, requires_grad=True)
    given = []

    def remembered(*arguments):
        given.append(answer(*arguments))
        return given[0]

    attempt = try_answer(remembered, *leaves, u)
    # 1 - u is as uniform as u, so the mirror image is as right.
    as_right = [mu - s * torch.logit(u)]
    right_numbers = any(is_close(attempt, good) for good in (z, *as_right))
    if right_numbers and not _all_reached(given[0], leaves):
        attempt = "the numbers are right, but no gradient reaches mu and s"
    right = "mu + s * logit(u), with slopes 1 and logit(u)"
    report(attempt, z, mistakes, right, as_right=as_right)


def _all_reached(z, leaves) -> bool:
    """Whether backpropagation from z comes to every one of the leaves."""
    if not (isinstance(z, Tensor) and z.requires_grad):
        return False
    slopes = torch.autograd.grad(z.sum(), leaves, allow_unused=True)
    return all(slope is not None for slope in slopes)


def exponential_draws(answer: Callable[[float, Tensor], tuple]) -> None:
    """u (K,) uniform in (0, 1) to z (K,), exponential, and its dz/drate (K,)."""
    rate, u = 2.5, UNIFORM
    attempt = try_answer(lambda *given: _stacked(answer(*given)), rate, u)
    if isinstance(attempt, Tensor) and attempt.shape != (2, len(u)):
        attempt = "return two tensors (K,), z and dz/drate"
    if not isinstance(attempt, Tensor):
        report(attempt, u, {}, "")
        return
    z = -torch.log1p(-u) / rate
    if is_close(attempt[0], -u.log() / rate):
        z = -u.log() / rate  # as right, for 1 - u is as uniform as u
    mistakes = {
        "divide by the rate, do not multiply": z * rate**2,
        "z must not be negative: mind the sign of the logarithm": -z,
        "this is the CDF at u: wanted is its inverse": 1 - (-rate * u).exp(),
        "the rate is missing: these are draws of rate 1": z * rate,
        "log(1 + u) stands where log(1 - u) belongs": -torch.log1p(u) / rate,
        "log(1 + u) stands where log(1 - u) belongs, and its sign is lost": (
            torch.log1p(u) / rate
        ),
        "z must not be negative: a minus is missing before log u": u.log() / rate,
        "z comes first, its derivative second": -z / rate,
    }
    if not is_close(attempt[0], z):
        report(attempt[0], z, mistakes, "")
        return
    mistakes = {
        "the sign: with more rate z becomes smaller": z / rate,
        "divide by the rate once more: the derivative of 1/rate is -1/rate^2": -z,
        "divided by the rate too often: z holds one 1/rate already": -z / rate**2,
        "that is dz/du: wanted is the derivative in the rate": (1 / (rate * (1 - u))),
        "it is not 0, for the rate stands in z": 0 * z,
        "the derivative of 1/rate is there, what stands beside it is not": (
            torch.full_like(z, -1 / rate**2)
        ),
        "it must be made from the same u as z, not from 1 - u": (
            torch.where(z == -u.log() / rate, torch.log1p(-u), u.log()) / rate**2
        ),
    }
    mistakes = {
        f"z is right, dz/drate is not: {text}": v for text, v in mistakes.items()
    }
    right = "z by the inverse CDF, and dz/drate = -z / rate"
    if not any(is_close(attempt[1], each) for each in (-z / rate, *mistakes.values())):
        print(
            "Not yet: z is right, dz/drate is not, in a way this check does not know."
        )
        return
    report(attempt[1], -z / rate, mistakes, right)


def _stacked(pair):
    """A pair of tensors (K,) as one (2, K); other answers as they are."""
    if isinstance(pair, tuple | list) and len(pair) == 2:
        if pair[0] is None:
            return None
        parts = [torch.as_tensor(part) for part in pair if part is not None]
        same = len(parts) == 2 and parts[0].shape == parts[1].shape
        return torch.stack(parts) if same else parts[0]
    return pair


SAMPLER_MISTAKES = (
    "none: this is the trick",
    "sigma is squared",
    "one eps is shared by all rows of the batch",
    "no gradient reaches mu and sigma",
)


def _shared_eps(mu, sigma):
    return mu + sigma * torch.randn(mu.shape[1:])


SAMPLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "A": _shared_eps,
    "B": lambda mu, sigma: mu + sigma**2 * torch.randn_like(mu),
    "C": lambda mu, sigma: distributions.Normal(mu, sigma).sample(),
    "D": lambda mu, sigma: mu + sigma * torch.randn_like(mu),
}
_PLANTED = {"A": 2, "B": 1, "C": 3, "D": 0}
# What each mistake would have looked like, said when it was guessed and is not there.
_AGAINST = (
    "this one is not sound: look at spread, rows and gradients.",
    "at sigma = 2 the draws would spread by 4.",
    "two rows with equal mu and sigma would be equal.",
    "z.requires_grad would be False though mu's is True.",
)


def planted_samplers(answer: dict[str, int | None]) -> None:
    """Which of SAMPLER_MISTAKES, by its number, each of SAMPLERS has."""
    report_diagnosis(answer, _PLANTED, SAMPLER_MISTAKES, _AGAINST)


def score_estimates(answer: Callable) -> None:
    """f(z) (K,), z (K,), mu, sigma to estimates of dE[f]/dsigma (K,)."""
    mu, sigma = 0.5, 0.8
    z = mu + sigma * torch.tensor([-1.3, -0.4, 0.2, 0.9, 1.8])
    values = torch.tensor([2.0, -1.0, 0.5, 3.0, 1.5])
    eps = (z - mu) / sigma
    truth = values * (eps.square() - 1) / sigma
    mistakes = {
        "this is the derivative in mu: wanted is that in sigma": values * eps / sigma,
        "the -1/sigma is missing, from the -log sigma in log q": (
            values * eps.square() / sigma
        ),
        "the sign: log q falls with (z - mu)^2 / 2 sigma^2": -truth,
        "f is missing: this is the score alone": (eps.square() - 1) / sigma,
        "divide by sigma^3: the derivative of sigma^-2 is -2 sigma^-3": (
            values * (eps.square() - 1 / sigma)
        ),
        "this is the derivative in log sigma: divide by sigma": (
            values * (eps.square() - 1)
        ),
        "this is the derivative in the variance: multiply by 2 sigma": (
            truth / (2 * sigma)
        ),
        "one estimate a sample is wanted: do not average yet": truth.mean(),
        "one estimate a sample is wanted: do not sum": truth.sum(),
        "f is to be multiplied by the score, not added": (
            values + (eps.square() - 1) / sigma
        ),
        "(z - mu) is to be squared": values * (eps - 1) / sigma,
        "this is f times log q: differentiate log q first": values
        * distributions.Normal(mu, sigma).log_prob(z),
        "the sign of -1/sigma: log q holds -log sigma": (
            values * (eps.square() + 1) / sigma
        ),
        "the sign of the square: log q holds minus (z - mu)^2 / 2 sigma^2": (
            -values * (eps.square() + 1) / sigma
        ),
        "a 1/2 too many: the 2 of the square's derivative cancels it": (
            values * (eps.square() / 2 - 1) / sigma
        ),
        "the derivative of -log sigma is -1/sigma, not -1": (
            values * (eps.square() / sigma - 1)
        ),
        "f multiplies the whole bracket: mind the parentheses": (
            values * eps.square() / sigma - 1 / sigma
        ),
        "that would be f times eps, no score: square, and subtract 1/sigma": (
            values * eps
        ),
        "q itself is differentiated here: take its logarithm first": truth
        * distributions.Normal(mu, sigma).log_prob(z).exp(),
    }
    right = "f(z) times the derivative of log q"
    report(try_answer(answer, values, z, mu, sigma), truth, mistakes, right)


def leave_one_out_estimate(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """f(z) (K,) and scores (K,) to the leave-one-out estimate, one number."""
    values = torch.tensor([4.0, 1.0, 7.0, 2.5, 3.0])
    s = torch.tensor([0.9, -1.2, 1.9, 0.3, -0.6])
    k = len(values)
    each = (values - (values.sum() - values) / (k - 1)) * s
    mistakes = {
        "each sample is in its own baseline: leave it out": (
            ((values - values.mean()) * s).mean()
        ),
        "there are K - 1 others: divide their sum by K - 1": (
            ((values - (values.sum() - values) / k) * s).mean()
        ),
        "no baseline is subtracted": (values * s).mean(),
        "the sum of the others is still to be divided by K - 1": (
            ((values - (values.sum() - values)) * s).mean()
        ),
        "the sum of *all* is divided by K - 1: take one's own off first": (
            ((values - values.sum() / (k - 1)) * s).mean()
        ),
        "the estimates are to be averaged, not summed": each.sum(),
        "one number is wanted: average at the end": each,
        "the sign: f minus baseline, not baseline minus f": -each.mean(),
        "the baseline is added: subtract it": (
            ((values + (values.sum() - values) / (k - 1)) * s).mean()
        ),
        "too large by K / (K - 1): average over all K, and centre f only, not s": (
            each.sum() / (k - 1)
        ),
        "this is always 0: multiply each f minus baseline by its own s, then average": (
            0 * each.sum()
        ),
        "divide by K at the end: this is the sum, with the mean as baseline": (
            ((values - values.mean()) * s).sum()
        ),
        "the subtraction comes before the division: mind the parentheses": (
            ((values - values.sum() - values / (k - 1)) * s).mean()
        ),
    }
    report(
        try_answer(answer, values, s),
        each.mean(),
        mistakes,
        "each sample against the mean of the others",
    )
