"""The exercises of notebook 05, latent exploration."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaelib import objectives
from vaelib.checks.verdict import report, try_answer, unknown_mistake
from vaelib.data import SPECIES
from vaelib.figures import ACTIVE_NATS


def posterior_draws(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """n codes (n, Z) drawn from N(mu, sigma^2), for mu (Z,) and sigma (Z,)."""
    n, mu, sigma = 20_000, torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 2.0, 0.3])
    zero, one = torch.zeros(3), torch.ones(3)
    attempt = try_answer(answer, mu, sigma, n)
    if isinstance(attempt, Tensor):
        if attempt.shape != (n, 3):
            print(f"Not yet: {unknown_mistake(attempt, torch.zeros(n, 3))}.")
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
    report(attempt, _describe_draws(mu, sigma), mistakes, right, rtol=0.04)


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
    report(try_answer(answer, mu, sigma), centres + widths, mistakes, right)


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
    report(
        try_answer(lambda: answer),
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
    report(try_answer(answer, a, b, t), arc(angle), mistakes, "an arc at even speed")


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
    attempt = try_answer(lambda: answer)
    if isinstance(attempt, Tensor) and attempt.numel() == 1:
        number = attempt.item()
        if isinstance(answer, bool) or number not in range(latents):
            attempt = f"wanted is a whole number from 0 to {latents - 1}"
    right = "drawn codes of this latent go with the ears, and no other's as well"
    report(attempt, torch.tensor(float(ears)), mistakes, right)
