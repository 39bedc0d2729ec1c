"""The exercises of notebook 04, training a VAE."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaelib import objectives
from vaelib.checks.verdict import report, report_diagnosis, try_answer
from vaelib.training import Loss, evaluate

BUGS = (
    "the pixels are averaged, the KL is summed",
    "the KL is left out",
    "the KL has the wrong sign",
    "the KL is averaged over the latents",
    "z is drawn with sigma^2 in place of sigma",
    "z is mu: nothing is drawn",
)


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
    report(try_answer(answer, log_var), (log_var / 2).exp(), mistakes, right)


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
    report(try_answer(answer, mu, sigma), truth, mistakes, right)


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
    report(
        try_answer(lambda: answer),
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
    report(try_answer(answer, model, x), truth, mistakes, right, rtol=0.007)


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
    planted = {name: BUGS.index(bug) for name, (_, bug) in PLANTED_BUGS.items()}
    report_diagnosis(answer, planted, BUGS, _AGAINST)


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
