"""Checks for the exercises: each names the misconception behind a wrong answer.

A check prints one line: not attempted yet, right, or which mistake was made. It never
raises for a wrong answer, so that a notebook runs on to its end.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib import objectives
from vaelib.data import SPECIES
from vaelib.figures import ACTIVE_NATS
from vaelib.training import Loss, evaluate

BUGS = (
    "the pixels are averaged, the KL is summed",
    "the KL is left out",
    "the KL has the wrong sign",
    "the KL is averaged over the latents",
    "z is drawn with sigma^2 in place of sigma",
    "z is mu: nothing is drawn",
)


def _attempt(answer: Callable, *arguments):
    """answer(*arguments) as a tensor; None if not attempted; a text if it fails."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        value = answer(*copies)
    except Exception as error:  # whatever a learner's code may raise
        return f"it stopped with {type(error).__name__}: {error}"
    if value is None or value is ...:
        return None
    if isinstance(value, str):
        return f"{value!r} is a text: write numbers without quotes"
    try:
        value = torch.as_tensor(value).detach().to_dense().cpu()
        return "it holds complex numbers" if value.is_complex() else value.double()
    except (TypeError, ValueError, RuntimeError):
        return f"it is a {type(value).__name__}, where numbers are wanted"


def _distance(answer: Tensor, other: Tensor) -> float:
    """The largest relative difference of two tensors; infinite if shapes differ."""
    if answer.shape != other.shape:
        return math.inf
    return ((answer - other).abs() / other.abs().clamp(min=1e-3)).max().item()


def _unknown(answer: Tensor, truth: Tensor) -> str:
    if answer.shape != truth.shape:
        return f"the shape is {tuple(answer.shape)}, wanted is {tuple(truth.shape)}"
    if answer.isnan().any():
        return "it contains NaN"
    return "the numbers are wrong, in a way this check does not know"


def _report(
    answer,
    truth: Tensor,
    mistakes: dict[str, Tensor],
    right: str,
    rtol: float = 1e-4,
) -> None:
    """Print the verdict on an attempt, against the truth and the known mistakes."""
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.reshape(truth.shape) if truth.numel() == 1 else answer
    if answer is None:
        print("Not attempted yet.")
    elif isinstance(answer, str):
        print(f"Not yet: {answer}.")
    elif _distance(answer, truth) < rtol:
        print(f"Right: {right}.")
    else:
        nearest = min(mistakes, key=lambda text: _distance(answer, mistakes[text]))
        known = _distance(answer, mistakes[nearest]) < rtol
        print(f"Not yet: {nearest if known else _unknown(answer, truth)}.")


def sigma_from_log_var(answer: Callable[[Tensor], Tensor]) -> None:
    """log sigma^2 (B, Z) to sigma (B, Z)."""
    log_var = torch.linspace(-3, 3, 8).view(2, 4)
    mistakes = {
        "this is sigma squared, the variance: sigma is its square root": log_var.exp(),
        "this squares sigma^2 once more: halve log_var, do not double it": (
            (2 * log_var).exp()
        ),
        "this is log_var itself, which can be negative": log_var,
        "this is log sigma: still to be exponentiated": log_var / 2,
        "this is 1 / sigma: look at the sign in the exponent": (-log_var / 2).exp(),
        "softplus makes a number positive, but it does not undo this logarithm": (
            torch.nn.functional.softplus(log_var)
        ),
    }
    right = "sigma = exp(log_var / 2), positive whatever the layer puts out"
    _report(_attempt(answer, log_var), (log_var / 2).exp(), mistakes, right)


def kl_per_latent(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """KL(N(mu, sigma^2) || N(0, 1)) of each latent, (B, Z)."""
    mu = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, -0.7]])
    sigma = torch.tensor([[0.5, 1.5, 0.2], [2.0, 0.9, 0.6]])
    truth = objectives.gaussian_kl_per_latent(mu, sigma)
    mistakes = {
        "the sign is wrong: a KL is never negative": -truth,
        "sigma is used as if it were the variance: square it, and mind log sigma": (
            0.5 * (mu**2 + sigma - 1 - sigma.log())
        ),
        "log sigma^2 is 2 log sigma: half of it is missing here": (
            0.5 * (mu**2 + sigma**2 - 1 - sigma.log())
        ),
        "sigma is used as if it were log sigma^2": (
            0.5 * (mu**2 + sigma.exp() - 1 - sigma)
        ),
        "mu^2 is missing: a shifted q costs nats too": (
            0.5 * (sigma**2 - 1) - sigma.log()
        ),
        "the factor 1/2 is missing": 2 * truth,
        "the -1/2 is missing: a q equal to the prior must cost nothing": truth + 0.5,
        "the sign of log sigma: a narrow q must cost more, not less": (
            truth + 2 * sigma.log()
        ),
        "log sigma^2 is 2 log sigma: this counts it twice": truth - sigma.log(),
        "Normal wants sigma, and here it got sigma squared": (
            objectives.gaussian_kl_per_latent(mu, sigma**2)
        ),
        "this is KL(prior || q): the two are swapped": (
            sigma.log() + (1 + mu**2) / (2 * sigma**2) - 0.5
        ),
        "it is summed over the latents already: keep one number a latent": (
            truth.sum(-1)
        ),
        "it is averaged over the latents: keep one number a latent": truth.mean(-1),
        "it is summed over everything: keep one number a latent": truth.sum(),
        "it is averaged over everything: keep one number a latent": truth.mean(),
    }
    right = "one KL for each latent of each example, none negative"
    _report(_attempt(answer, mu, sigma), truth, mistakes, right)


def effective_beta(answer: float) -> None:
    """The weight on the KL when 784 pixels are averaged and 20 latents summed."""
    pixels, latents = 784, 20
    mistakes = {
        "the wrong way round: the pixels became weaker, so the KL became stronger": (
            1 / pixels
        ),
        "that would be right if the KL were averaged over the latents too": (
            pixels / latents
        ),
        "the number of latents does not matter: the KL is summed, as it should be": (
            latents
        ),
        "the balance did change: think of how many pixels are averaged": 1,
    }
    right = "every nat of KL now weighs as much as 784 nats of pixels"
    _report(
        _attempt(lambda: answer),
        torch.tensor(pixels),
        {text: torch.tensor(value) for text, value in mistakes.items()},
        right,
    )


def bound_on_test_data(answer: Callable, model, x: Tensor) -> None:
    """The mean negative ELBO of x (B, D), one sampled z each, as a number of nats."""
    per_image = evaluate(model, x)  # (B,)
    with torch.no_grad():
        mu, sigma = model.encode(x)
        kl = objectives.gaussian_kl(mu, sigma)
        without_noise = kl - model.log_likelihood(x, mu)
    truth = per_image.mean()
    mistakes = {
        "z must be drawn from q: with z = mu this is no bound": without_noise.mean(),
        "the KL is missing": (per_image - kl).mean(),
        "log p(x|z) is missing: this is the KL alone": kl.mean(),
        "sigma is squared before it is used to draw z": _variance_in_sampler(
            model, x, torch.Generator(x.device).manual_seed(0)
        )
        .detach()
        .mean(),
        "a mean over pixels and over latents: both must be summed": (
            (per_image - kl).mean() / x.shape[1] + kl.mean() / mu.shape[1]
        ),
        "a mean over the latents: they must be summed, as the pixels are": (
            (per_image - kl).mean() + kl.mean() / mu.shape[1]
        ),
        "the KL is subtracted: it is a cost, add it": (per_image - 2 * kl).mean(),
        "the sign: wanted is what is minimised, a positive number": -truth,
        "average over the images, but sum over the pixels": truth / x.shape[1],
        "average over the images, do not sum them": per_image.sum(),
        "keep log p(x|z) and KL of an image together before you average": (
            per_image.mean() - kl.mean() + kl.sum()
        ),
    }
    # The learner's draws are not ours: the mean over 1,000 images moves by 0.2 %.
    right = "z drawn, summed over pixels and latents, averaged over the images"
    _report(_attempt(answer, model, x), truth, mistakes, right, rtol=0.007)


def _without_kl(model, x, generator):
    return -objectives.elbo(model, x, generator=generator).log_likelihood


def _averaged_pixels(model, x, generator):
    terms = objectives.elbo(model, x, generator=generator)
    return -terms.log_likelihood / x.shape[1] + terms.kl


def _without_noise(model, x, generator):
    mu, sigma = model.encode(x)
    return -model.log_likelihood(x, mu) + objectives.gaussian_kl(mu, sigma)


def _variance_in_sampler(model, x, generator):
    mu, sigma = model.encode(x)
    z = objectives.sample_gaussian(mu, sigma**2, generator)
    return -model.log_likelihood(x, z) + objectives.gaussian_kl(mu, sigma)


PLANTED_BUGS: dict[str, tuple[Loss, str]] = {
    "A": (_without_kl, BUGS[1]),
    "B": (_averaged_pixels, BUGS[0]),
    "C": (_without_noise, BUGS[5]),
    "D": (_variance_in_sampler, BUGS[4]),
}


def planted_bugs(answer: dict[str, int | None]) -> None:
    """Which of BUGS, by its number, is in each loss of PLANTED_BUGS."""
    if not isinstance(answer, dict) or not answer.keys() <= PLANTED_BUGS.keys():
        print('Not yet: answer with a dictionary such as {"A": 2, "B": None, ...}.')
        return
    for name, (_, bug) in PLANTED_BUGS.items():
        guess = answer.get(name)
        if guess is None or guess is ...:
            print(f"{name}: Not attempted yet.")
        elif not isinstance(guess, int) or not 0 <= guess < len(BUGS):
            print(f"{name}: Not yet: write a number from 0 to {len(BUGS) - 1}, bare.")
        elif BUGS[guess] == bug:
            print(f"{name}: Right: {bug}.")
        else:
            print(f"{name}: Not yet: {_AGAINST[guess]}")


# What each bug would have looked like, said when it was guessed and is not there.
_AGAINST = (
    "averaged pixels would bring the loss near 0 and the KL to 0.",
    "without the KL the true KL grows far above that of a healthy run.",
    "a KL with the wrong sign sends the loss below the floor, without end.",
    "an averaged KL weighs a twentieth: the true KL would be far above a healthy one.",
    "sigma^2 in the sampler gives less noise than the KL was told: the loss looks "
    "a little too good, the true bound is a little worse.",
    "with no noise drawn, sigma stays near 1 to please the KL, and the true bound, "
    "whose noise the decoder has never seen, climbs.",
)


def posterior_draws(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """n codes (n, Z) drawn from N(mu, sigma^2), for mu (Z,) and sigma (Z,)."""
    n, mu, sigma = 20_000, torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 2.0, 0.3])
    zero, one = torch.zeros(3), torch.ones(3)
    attempt = _attempt(answer, mu, sigma, n)
    if isinstance(attempt, Tensor):
        if attempt.shape != (n, 3):
            print(f"Not yet: {_unknown(attempt, torch.zeros(n, 3))}.")
            return
        if (attempt == attempt[0]).all() and not torch.allclose(attempt[0].float(), mu):
            print("Not yet: all rows are one draw: each needs an eps of its own.")
            return
        pair = attempt[:, :2].sum(1).std()
        attempt = _describe_draws(attempt.mean(0), attempt.std(0), pair)
    mistakes = {
        "every row is mu: nothing is drawn": _describe_draws(mu, zero),
        "sigma is squared: its square is the variance, not the spread": (
            _describe_draws(mu, sigma**2)
        ),
        "the square root of sigma is taken: sigma is a spread already": (
            _describe_draws(mu, sigma.sqrt())
        ),
        "these are draws from the prior: they know nothing of the image": (
            _describe_draws(zero, one)
        ),
        "mu is missing: the draws lie around 0": _describe_draws(zero, sigma),
        "mu and sigma have changed places": _describe_draws(sigma, mu.abs()),
        "sigma is positive already: no exp": _describe_draws(mu, sigma.exp()),
        "sigma is missing: the draws spread as the prior does": (
            _describe_draws(mu, one)
        ),
        "one eps is shared by all latents of a code: each latent needs its own": (
            _describe_draws(mu, sigma, sigma[:2].sum())
        ),
        "rand is uniform in [0, 1): the draws must be normal, randn": (
            _describe_draws(mu + sigma / 2, sigma / math.sqrt(12))
        ),
    }
    right = "n codes, each with noise of its own in every latent"
    _report(attempt, _describe_draws(mu, sigma), mistakes, right, rtol=0.04)


def _describe_draws(mean: Tensor, spread: Tensor, spread_of_pair=None) -> Tensor:
    """What tells draws apart, (7,): the last is the spread of the first two's sum."""
    if spread_of_pair is None:  # of independent latents
        spread_of_pair = spread[:2].square().sum().sqrt()
    # The means are moved away from 0, since differences are judged relative to size.
    return torch.cat([mean + 3, spread, spread_of_pair[None]]).double()


def aggregate_variance(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The variance of each latent under the aggregate posterior, (Z,)."""
    mu = torch.tensor([[1.0, -2.0], [2.0, 0.5], [3.5, 1.0], [0.5, 4.0]])
    sigma = torch.tensor([[0.5, 0.1], [1.0, 0.7], [0.2, 0.4], [1.5, 0.9]])
    centres, widths = mu.var(0, correction=0), sigma.square().mean(0)
    mistakes = {
        "only the spread of the centres: add how wide each posterior is": centres,
        "only the width of the posteriors: add how far apart they are": widths,
        "variances add, standard deviations do not: square sigma": (
            centres + sigma.mean(0)
        ),
        "square sigma before you average it, not after": (
            centres + sigma.mean(0).square()
        ),
        "this is the second moment: subtract the mean of mu before you square": (
            mu.square().mean(0) + widths
        ),
        "the average is over exactly these N: divide by N (correction=0)": (
            mu.var(0) + widths
        ),
        "this is the standard deviation: wanted is its square": (
            (centres + widths).sqrt()
        ),
        "standard deviations do not add: add the variances": (
            centres.sqrt() + sigma.mean(0)
        ),
        "subtracted: a wide posterior makes the aggregate wider, not narrower": (
            centres - widths
        ),
        "the widths are summed over the images: average them": (
            centres + sigma.square().sum(0)
        ),
        "that is how much sigma varies: wanted is how large its square is": (
            centres + sigma.var(0, correction=0)
        ),
        "standard deviations do not add, not even before they are squared": (
            (centres.sqrt() + sigma.mean(0)).square()
        ),
        "average over the N images, not over the latents": (
            mu.var(1, correction=0) + sigma.square().mean(1)
        ),
    }
    right = "the spread of the centres plus the mean squared width"
    _report(_attempt(answer, mu, sigma), centres + widths, mistakes, right)


def squared_length(answer: float) -> None:
    """E||z||^2 a quarter of the straight way between two prior draws, 64 latents."""
    mistakes = {
        "that is what both ends have: between them the way is shorter": 64,
        "that is the middle, t = 1/2: the question is t = 1/4": 32,
        "that is its root: wanted is the squared length": math.sqrt(40),
        "that is only the part of a: b has one too": 36,
        "that is only the part of b: a has one too": 4,
        "that is only the part of a, and its weight is still to be squared": 48,
        "that is only the part of b, and its weight is still to be squared": 16,
        "that would be for one latent: there are 64": 40 / 64,
        "64 is the squared length of an end already: no root of it": 5,
        "that is the length of an end, and its root besides": 8,
        "the weights are squared before they are added, not after": 64.0**2,
    }
    _report(
        _attempt(lambda: answer),
        torch.tensor(40.0),
        {text: torch.tensor(float(value)) for text, value in mistakes.items()},
        "64 times the squares of 3/4 and 1/4, added",
    )


def spherical_interpolation(answer: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """The point at part t of the arc from a to b, (Z,) each."""
    # Short vectors, so that acos of their bare product is a number too.
    a, b, t = torch.tensor([0.8, 0.1, 0.2]), torch.tensor([-0.1, 0.5, 0.3]), 0.3
    angle = torch.acos((a @ b) / (a.norm() * b.norm()))
    bare_angle = torch.acos(a @ b)

    def arc(omega, t=t, ends=(a, b)):
        weights = torch.sin((1 - t) * omega), torch.sin(t * omega)
        return (weights[0] * ends[0] + weights[1] * ends[1]) / torch.sin(omega)

    straight = (1 - t) * a + t * b
    mistakes = {
        "this is the straight line": straight,
        "the ends are the wrong way round: t = 0 must give a": arc(angle, 1 - t),
        "omega wants a cosine: divide a·b by both lengths": arc(bare_angle),
        "the division by sin omega is missing": arc(angle) * torch.sin(angle),
        "this is the straight line, stretched: the angle does not grow evenly": (
            straight / straight.norm() * a.norm()
        ),
        "this is the straight line, scaled to length 1": straight / straight.norm(),
        "omega is the angle, and here is its cosine: take acos": arc(torch.cos(angle)),
        "asin is taken: a·b over both lengths is a cosine, so take acos": (
            arc(torch.asin(torch.cos(angle)))
        ),
        "omega is in degrees: torch.sin wants radians": arc(torch.rad2deg(angle)),
        "that is right for a right angle only: use omega, the angle of a and b": (
            math.cos(t * math.pi / 2) * a + math.sin(t * math.pi / 2) * b
        ),
        "a and b keep their lengths: divide by those inside acos only": (
            arc(angle, ends=(a / a.norm(), b / b.norm()))
        ),
    }
    _report(_attempt(answer, a, b, t), arc(angle), mistakes, "an arc at even speed")


def ears_latent(answer: int, model, cats) -> None:
    """The number of the latent of a model for cats that carries the ears best."""
    mu, sigma = model.encode(cats.images)
    z = objectives.sample_gaussian(mu, sigma, torch.Generator().manual_seed(0))
    latents, names = z.shape[1], ["fur", "size", "ears", *SPECIES]
    true = torch.cat([cats.knobs, torch.eye(3)[cats.species]], 1)  # (N, 6)
    # Squared correlations of what is true (rows) with each latent (columns).
    table = torch.corrcoef(torch.cat([true, z], 1).T)[:6, 6:].square()
    ears = table[2].argmax().item()
    kl = objectives.gaussian_kl_per_latent(mu, sigma).mean(0)
    rank = kl.argsort(descending=True).tolist().index(ears)
    mistakes = {}
    for j in set(range(latents)) - {ears}:
        best = names[table[:, j].argmax()]
        said = f"latent {j} goes with {best} more than with the ears"
        said = f"latent {j} is silent" if kl[j] < ACTIVE_NATS else said
        hint = "; if you counted ranks, wanted is the j of z_j" * (
            j in (rank, rank + 1)
        )
        mistakes[said + hint] = torch.tensor(float(j))
    attempt = _attempt(lambda: answer)
    if isinstance(attempt, Tensor) and attempt.numel() == 1:
        number = attempt.item()
        if isinstance(answer, bool) or number not in range(latents):
            attempt = f"wanted is a whole number from 0 to {latents - 1}"
    right = "drawn codes of this latent go with the ears, and no other's as well"
    _report(attempt, torch.tensor(float(ears)), mistakes, right)
