"""Every check knows the right answer, no answer, and each mistake by its name."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F

from vaelib import checks, data, objectives
from vaelib.models import VariationalAutoEncoder, load_weights


def kl(mu, sigma):
    return 0.5 * (mu**2 + sigma**2 - 1) - sigma.log()


SIGMA = [
    (lambda v: (v / 2).exp(), "Right: sigma = exp"),
    (lambda v: v.exp().sqrt(), "Right"),
    (lambda v: None, "Not attempted"),
    (lambda v: ..., "Not attempted"),
    (lambda v: v.exp(), "the variance"),
    (lambda v: (2 * v).exp(), "squares sigma"),
    (lambda v: v, "can be negative"),
    (lambda v: v / 2, "still to be exponentiated"),
    (lambda v: (-v / 2).exp(), "sign in the exponent"),
    (F.softplus, "softplus"),
    (lambda v: 7 * v, "does not know"),
    (lambda v: v.sum(), "the shape is"),
    (lambda v: v.nope, "stopped with AttributeError"),
    (lambda v: "text", "without quotes"),
    (lambda v: v.mul_(0.5).exp_(), "Right"),
    (lambda v: v.double().numpy() * 7, "does not know"),
    (lambda v: (v / 2).exp().tolist(), "Right"),
    (lambda v: torch.complex(v, v), "complex"),
    (lambda v: (v / 2).exp().to_sparse(), "Right"),
    (lambda v: v.to("meta"), "numbers are wanted"),
    (lambda v: v * math.nan, "contains NaN"),
    (lambda v: {"a": 1}, "is a dict"),
]
KL = [
    (kl, "Right"),
    (lambda m, s: None, "Not attempted"),
    (lambda m, s: -kl(m, s), "never negative"),
    (lambda m, s: 0.5 * (m**2 + s - 1 - s.log()), "as if it were the variance"),
    (lambda m, s: 0.5 * (m**2 + s**2 - 1 - s.log()), "half of it is missing"),
    (lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s), "as if it were log sigma"),
    (lambda m, s: kl(0 * m, s), "mu^2 is missing"),
    (lambda m, s: 2 * kl(m, s), "1/2 is missing"),
    (lambda m, s: 0.5 * (m**2 + s**2) - s.log(), "-1/2 is missing"),
    (lambda m, s: 0.5 * (m**2 + s**2 - 1) + s.log(), "sign of log sigma"),
    (lambda m, s: 0.5 * (m**2 + s**2 - 1) - (s**2).log(), "counts it twice"),
    (lambda m, s: kl(m, s**2), "Normal wants sigma"),
    (lambda m, s: kl(m, s).mean(), "averaged over everything"),
    (lambda m, s: s.log() + (1 + m**2) / (2 * s**2) - 0.5, "swapped"),
    (lambda m, s: kl(m, s).sum(1), "summed over the latents"),
    (lambda m, s: kl(m, s).mean(1), "averaged over the latents"),
    (lambda m, s: kl(m, s).sum(), "summed over everything"),
]
BETA = [
    (784, "Right"),
    (784.0, "Right"),
    (None, "Not attempted"),
    ([784], "Right"),
    ("784", "without quotes"),
    (1 / 784, "wrong way round"),
    (784 / 20, "averaged over the latents too"),
    (20, "does not matter"),
    (1, "balance did change"),
    (3, "does not know"),
]


@pytest.mark.parametrize(("answer", "said"), SIGMA)
def test_sigma_from_log_var(verdict, answer, said):
    assert said in verdict(checks.sigma_from_log_var, answer)


@pytest.mark.parametrize(("answer", "said"), KL)
def test_kl_per_latent(verdict, answer, said):
    assert said in verdict(checks.kl_per_latent, answer)


@pytest.mark.parametrize(("answer", "said"), BETA)
def test_effective_beta(verdict, answer, said):
    assert said in verdict(checks.effective_beta, answer)


def parts(model, x, draw=True, power=1):
    mu, sigma = model.encode(x)
    eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(9))
    z = mu + draw * sigma**power * eps
    return -model.log_likelihood(x, z), objectives.gaussian_kl(mu, sigma)


@pytest.fixture(scope="module")
def trained():
    """A trained model and 1,000 test images."""
    model = VariationalAutoEncoder(784, 400, 20, activation="silu")
    x, _ = data.load("mnist", train=False)
    return load_weights(model, "mnist_z20"), x[:1000]


BOUND = [
    (lambda m, x: sum(parts(m, x)).mean(), "Right"),
    (lambda m, x: sum(parts(m, x)).mean().item(), "Right"),
    (lambda m, x: None, "Not attempted"),
    (lambda m, x: sum(parts(m, x, draw=False)).mean(), "must be drawn"),
    (lambda m, x: parts(m, x, power=2)[0].mean() + parts(m, x)[1].mean(), "squared"),
    (lambda m, x: parts(m, x)[0].mean(), "KL is missing"),
    (lambda m, x: parts(m, x)[1].mean(), "KL alone"),
    (
        lambda m, x: sum(
            part.mean() / n for part, n in zip(parts(m, x), (784, 20), strict=True)
        ),
        "over pixels and over latents",
    ),
    (
        lambda m, x: parts(m, x)[0].mean() + parts(m, x)[1].mean() / 20,
        "over the latents",
    ),
    (lambda m, x: (parts(m, x)[0] - parts(m, x)[1]).mean(), "it is a cost"),
    (lambda m, x: -sum(parts(m, x)).mean(), "the sign"),
    (lambda m, x: sum(parts(m, x)).mean() / x.shape[1], "sum over the pixels"),
    (lambda m, x: sum(parts(m, x)).sum(), "do not sum them"),
    (lambda m, x: sum(parts(m, x)), "the shape is"),
]


@pytest.mark.parametrize(("answer", "said"), BOUND)
def test_bound_on_test_data(verdict, trained, answer, said):
    assert said in verdict(checks.bound_on_test_data, answer, *trained)


def test_planted_bugs_accepts_the_right_diagnosis_only(verdict):
    right = {
        name: checks.BUGS.index(bug) for name, (_, bug) in checks.PLANTED_BUGS.items()
    }
    assert verdict(checks.planted_bugs, right).count("Right") == 4
    for name in right:
        for guess in set(range(len(checks.BUGS))) - {right[name]}:
            said = verdict(checks.planted_bugs, right | {name: guess})
            assert said.count("Right") == 3
            assert f"{name}: Not yet" in said
    assert verdict(checks.planted_bugs, {}).count("Not attempted") == 4
    for nonsense in 17, "1", 1.0, torch.ones(2):
        said = verdict(checks.planted_bugs, {"A": nonsense})
        assert "A: Not yet: write a number from 0 to 5" in said
    for nonsense in None, [1, 2, 3, 4], "A", {"a": 1}:
        assert "a dictionary" in verdict(checks.planted_bugs, nonsense)


def test_planted_losses_are_wrong_in_the_way_they_say():
    generator = torch.Generator().manual_seed(0)
    model, x = VariationalAutoEncoder(784, 10, 3), torch.rand(6, 784)
    with torch.no_grad():
        mu, sigma = model.encode(x)
        eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
        cost = {p: -model.log_likelihood(x, mu + sigma**p * eps) for p in (1, 2)}
        kl = objectives.gaussian_kl(mu, sigma)
        wanted = {
            "the KL is left out": cost[1],
            "the pixels are averaged, the KL is summed": cost[1] / 784 + kl,
            "z is mu: nothing is drawn": kl - model.log_likelihood(x, mu),
            "z is drawn with sigma^2 in place of sigma": cost[2] + kl,
        }
        for loss, bug in checks.PLANTED_BUGS.values():
            found = loss(model, x, generator.manual_seed(0))
            assert torch.allclose(found, wanted[bug], rtol=1e-5)


def test_every_exercise_check_has_a_docstring_and_takes_the_answer_first():
    modules = inspect.getmembers(checks, inspect.ismodule)
    found = [
        inspect.getmembers(m, inspect.isfunction) for n, m in modules if n != "verdict"
    ]
    own = [
        f for fs in found for _, f in fs if f.__module__.startswith("vaelib.checks.")
    ]
    public = {
        f for f in own if f.__name__[0] != "_" and not f.__module__.endswith("verdict")
    }
    assert public == {f for _, f in inspect.getmembers(checks, inspect.isfunction)}
    assert {function.__name__ for function in public} <= set(checks.__all__)
    for function in public:
        assert function.__doc__
        assert next(iter(inspect.signature(function).parameters)) == "answer"


def test_nan_is_no_right_answer(verdict):
    said = verdict(checks.effective_beta, math.nan)
    assert "Not yet" in said


def draw(m, s, n, eps=None):
    return m + s * (torch.randn(n, len(m)) if eps is None else eps)


DRAWS = [
    (draw, "Right"),
    (lambda m, s, n: torch.distributions.Normal(m, s).sample((n,)), "Right"),
    (lambda m, s, n: None, "Not attempted"),
    (lambda m, s, n: m.repeat(n, 1), "every row is mu"),
    (
        lambda m, s, n: draw(m, s, n, torch.randn(3)).repeat(n, 1),
        "all rows are one draw",
    ),
    (lambda m, s, n: (m + s).repeat(n, 1), "all rows are one draw"),
    (lambda m, s, n: draw(m, s**2, n), "sigma is squared"),
    (lambda m, s, n: draw(m, s.sqrt(), n), "the square root of sigma"),
    (lambda m, s, n: torch.randn(n, 3), "from the prior"),
    (lambda m, s, n: draw(0 * m, s, n), "mu is missing"),
    (lambda m, s, n: draw(m, 1, n), "sigma is missing"),
    (lambda m, s, n: draw(m, s, n, torch.randn(n, 1)), "shared by all latents"),
    (lambda m, s, n: draw(m, s, n, torch.rand(n, 3)), "uniform"),
    (lambda m, s, n: draw(m, s, 3), "wanted is (20000, 3)"),
    (lambda m, s, n: draw(m, 3 * s, n), "does not know"),
    (lambda m, s, n: draw(s, m.abs(), n), "changed places"),
    (lambda m, s, n: draw(m, s.exp(), n), "no exp"),
    (lambda m, s, n: draw(m, s, n).T, "the shape is"),
    (lambda m, s, n: draw(m, s, n) * math.nan, "NaN"),
    (lambda m, s, n: torch.normal(m, -s), "stopped with"),
]
VARIANCE = [
    (lambda m, s: m.var(0, correction=0) + (s**2).mean(0), "Right"),
    (lambda m, s: (m**2 + s**2).mean(0) - m.mean(0) ** 2, "Right"),
    (lambda m, s: None, "Not attempted"),
    (lambda m, s: m.var(0, correction=0), "only the spread of the centres"),
    (lambda m, s: (s**2).mean(0), "only the width"),
    (lambda m, s: m.var(0, correction=0) + s.mean(0), "square sigma"),
    (lambda m, s: m.var(0, correction=0) + s.mean(0) ** 2, "before you average it"),
    (lambda m, s: (m**2 + s**2).mean(0), "second moment"),
    (lambda m, s: m.var(0) + (s**2).mean(0), "divide by N"),
    (lambda m, s: (m.var(0, correction=0) + (s**2).mean(0)).sqrt(), "its square"),
    (lambda m, s: m.std(0, correction=0) + s.mean(0), "do not add"),
    (lambda m, s: m.var(0, correction=0) - (s**2).mean(0), "wider, not narrower"),
    (lambda m, s: m.var(1, correction=0) + (s**2).mean(1), "over the N images"),
    (lambda m, s: m.var(0, correction=0) + (s**2).sum(0), "average them"),
    (lambda m, s: m.var(0, correction=0) + s.var(0, correction=0), "sigma varies"),
    (lambda m, s: (m.std(0, correction=0) + s.mean(0)) ** 2, "not even before"),
    (lambda m, s: m.var() + s.mean(), "the shape is"),
]
LENGTH = [
    (40, "Right"),
    ((3 / 4) ** 2 * 64 + (1 / 4) ** 2 * 64, "Right"),
    (None, "Not attempted"),
    (64, "both ends"),
    (32, "the middle"),
    (40**0.5, "its root"),
    (36, "the part of a"),
    (4, "the part of b"),
    (0.625, "for one latent"),
    (4096, "before they are added"),
    (48, "still to be squared"),
    (16, "still to be squared"),
    (5, "no root of it"),
    (8, "its root besides"),
    (17, "does not know"),
]


def arc(a, b, t, omega=None):
    omega = torch.acos(torch.cosine_similarity(a, b, 0)) if omega is None else omega
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / omega.sin()


def line(a, b, t):
    return (1 - t) * a + t * b


SLERP = [
    (arc, "Right"),
    (lambda a, b, t: None, "Not attempted"),
    (line, "the straight line"),
    (lambda a, b, t: arc(b, a, t), "wrong way round"),
    (lambda a, b, t: arc(a, b, t, torch.acos(a @ b)), "by both lengths"),
    (lambda a, b, t: arc(a, b, t) * torch.cosine_similarity(a, b, 0).acos().sin(),
     "division by sin omega"),
    (lambda a, b, t: line(a, b, t) / line(a, b, t).norm() * a.norm(), "stretched"),
    (lambda a, b, t: line(a, b, t) / line(a, b, t).norm(), "scaled to length 1"),
    (lambda a, b, t: arc(a, b, t, torch.cosine_similarity(a, b, 0)), "take acos"),
    (lambda a, b, t: arc(a, b, t, torch.cosine_similarity(a, b, 0).asin()), "asin"),
    (lambda a, b, t: arc(a, b, t, torch.cosine_similarity(a, b, 0).acos().rad2deg()),
     "radians"),
    (lambda a, b, t: math.cos(t * math.pi / 2) * a + math.sin(t * math.pi / 2) * b,
     "for a right angle only"),
    (lambda a, b, t: arc(a / a.norm(), b / b.norm(), t), "keep their lengths"),
    (lambda a, b, t: a + b, "does not know"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), DRAWS)
def test_posterior_draws(verdict, answer, said):
    torch.manual_seed(0)
    assert said in verdict(checks.posterior_draws, answer)


@pytest.mark.parametrize(("answer", "said"), VARIANCE)
def test_aggregate_variance(verdict, answer, said):
    assert said in verdict(checks.aggregate_variance, answer)


@pytest.mark.parametrize(("answer", "said"), LENGTH)
def test_squared_length(verdict, answer, said):
    assert said in verdict(checks.squared_length, answer)


@pytest.mark.parametrize(("answer", "said"), SLERP)
def test_spherical_interpolation(verdict, answer, said):
    assert said in verdict(checks.spherical_interpolation, answer)


def test_ears_latent(verdict):
    model = VariationalAutoEncoder(784, 128, 10, activation="silu")
    load_weights(model, "cats_z10_seed1")
    cats = data.cats(2000, seed=3)
    with torch.no_grad():
        mu, sigma = model.encode(cats.images)
    kl = objectives.gaussian_kl_per_latent(mu, sigma).mean(0)
    ranked = kl.argsort(descending=True).tolist()
    # Of one species and one fur, the cat's ears alone: which latent do they move?
    ears = torch.linspace(0, 1, 20)
    with torch.no_grad():
        moved, _ = model.encode(data.draw_cats(0.5, 0.5, ears, 0))
    right = moved[:, ranked[:5]].std(0).argmax().item()
    right = ranked[right]
    said = {
        guess: verdict(checks.ears_latent, guess, model, cats)
        for guess in [*range(10), None]
    }
    assert "Right" in said.pop(right)
    assert "Not attempted" in said.pop(None)
    assert f"latent {ranked[0]} goes with size" in said[ranked[0]]
    assert not any("Right" in text for text in said.values())
    for j in ranked[5:]:
        assert f"latent {j} is silent" in said[j]
    for j in (rank := ranked.index(right), rank + 1):
        assert "if you counted ranks" in said[j]
    for nonsense in 10, -1, 2.5, True, "4":
        text = verdict(checks.ears_latent, nonsense, model, cats)
        assert "Not yet" in text and ("from 0 to 9" in text or "quotes" in text)
