"""Likelihoods, KL and bounds against torch.distributions, quadrature and sampling."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.decomposition import PCA
from torch import distributions, nn
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn.functional import softplus

from vaelib import objectives
from vaelib.data import binarise
from vaelib.models import VariationalAutoEncoder

B, D, K = 3, 4, 5
SHAPES = [(B, D), (K, B, D), (2, K, B, D)]
positive = st.floats(1e-6, 1e6)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def assert_mean(draws, truth, errors=5):
    """The mean of independent draws is within some standard errors of the truth."""
    draws = torch.as_tensor(draws).double()
    standard_error = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - truth).abs() / standard_error
    assert (off < errors).all(), f"off by {off.max():.1f} standard errors"


def numbers(*shape):
    return st.lists(
        st.floats(-1e3, 1e3), min_size=math.prod(shape), max_size=math.prod(shape)
    ).map(lambda values: torch.tensor(values, dtype=torch.float64).view(shape))


# Log-likelihoods


@pytest.mark.parametrize("shape", SHAPES)
def test_bernoulli_is_that_of_torch(shape):
    x, logits = rand(B, D).round(), 3 * randn(*shape)
    ours = objectives.bernoulli_log_likelihood(x, logits)
    assert ours.shape == shape[:-1]
    theirs = distributions.Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("of_sigma", ["number", "(D,)", "(B, D)", "as mu"])
def test_gaussian_is_that_of_torch(shape, of_sigma):
    x, mu = randn(B, D), randn(*shape, seed=1)
    sigma = {
        "number": 0.3,
        "(D,)": rand(D, seed=2) + 0.1,
        "(B, D)": rand(B, D, seed=2) + 0.1,
        "as mu": rand(*shape, seed=2) + 0.1,
    }[of_sigma]
    ours = objectives.gaussian_log_likelihood(x, mu, sigma)
    assert ours.shape == shape[:-1]
    theirs = distributions.Normal(mu, sigma).log_prob(x).sum(-1)
    torch.testing.assert_close(ours, theirs)


def test_gaussian_takes_the_sample_axis_in_x_too():
    z, mu, sigma = randn(K, B, D), randn(B, D, seed=1), rand(B, D) + 0.1
    ours = objectives.gaussian_log_likelihood(z, mu, sigma)
    theirs = distributions.Normal(mu, sigma).log_prob(z).sum(-1)
    torch.testing.assert_close(ours, theirs)
    assert ours.shape == (K, B)


@pytest.mark.parametrize("sample_axes", [(), (K,), (2, K)])
def test_categorical_is_that_of_torch(sample_axes):
    x = torch.randint(6, (B, D), generator=seeded())
    logits = 3 * randn(*sample_axes, B, D, 6)
    ours = objectives.categorical_log_likelihood(x, logits)
    assert ours.shape == (*sample_axes, B)
    theirs = distributions.Categorical(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(ours, theirs)


def test_learned_sigma_settles_at_the_deviation_of_the_residuals():
    x, mu = randn(200, 1), 0.5 * randn(200, 1, seed=1)
    residual = (x - mu).square().mean().sqrt().item()
    for factor, sign in (0.9, 1), (1.0, 0), (1.1, -1):
        sigma = nn.Parameter(torch.tensor(factor * residual, dtype=torch.float64))
        objectives.gaussian_log_likelihood(x, mu, sigma).mean().backward()
        assert sigma.grad.sign() == sign or abs(sigma.grad) < 1e-12
    sigma = nn.Parameter(torch.full((1,), 3.0, dtype=torch.float64))
    optimiser = torch.optim.Adam([sigma], lr=0.05)
    for _ in range(500):
        optimiser.zero_grad()
        (-objectives.gaussian_log_likelihood(x, mu, sigma).mean()).backward()
        optimiser.step()
    assert sigma.item() == pytest.approx(residual, rel=1e-4)


@pytest.mark.parametrize("size", [1.0, 88.0, 104.0, 1e4])
def test_extreme_logits_keep_float32_exact(size):
    x = torch.tensor([[0.0, 0.5, 1.0, 0.25]])
    for logits in torch.full((1, 4), size), torch.full((1, 4), -size):
        logits.requires_grad_()
        ours = objectives.bernoulli_log_likelihood(x, logits)
        exact = (x.double() * logits.double() - softplus(logits.double())).sum(-1)
        torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=1e-6)
        ours.sum().backward()
        torch.testing.assert_close(logits.grad, x - logits.detach().sigmoid())


@pytest.mark.parametrize("sigma", [1e-20, 1e-30, 1e30])
@pytest.mark.parametrize("as_number", [True, False])
def test_extreme_sigma_keeps_float32_exact(sigma, as_number):
    residual = torch.tensor([[0.0, 1.0, -3.0, 10.0]])
    x, mu = residual * sigma, torch.zeros(1, 4)
    given_sigma = sigma if as_number else torch.full((1, 4), sigma)
    ours = objectives.gaussian_log_likelihood(x, mu, given_sigma)
    exact = norm.logpdf(residual.numpy().astype(float)).sum() - 4 * math.log(sigma)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("sigma", [1e-20, 1e-30])
def test_tiny_sigma_keeps_the_kl_exact(sigma):
    kl = objectives.gaussian_kl(torch.ones(1, 2), torch.full((1, 2), sigma))
    assert kl.item() == pytest.approx(2 * (-math.log(sigma)), rel=1e-6)


def test_grey_pixels_get_the_mean_over_their_binarised_draws():
    x, logits = rand(1, 20), randn(1, 20)
    draws = binarise(x.expand(20_000, 20), seeded(1))
    each = objectives.bernoulli_log_likelihood(draws, logits.expand(20_000, 20))
    assert_mean(each, objectives.bernoulli_log_likelihood(x, logits).item())


# The Gaussian KL


@pytest.mark.parametrize(
    ("mu", "sigma"), [(0.0, 1.0), (1.5, 0.3), (-2.0, 2.5), (0.1, 1e-3)]
)
def test_kl_is_the_integral_that_defines_it(mu, sigma):
    q, p = norm(mu, sigma), norm(0, 1)
    integral, _ = quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)),
        mu - 12 * sigma,
        mu + 12 * sigma,
        epsabs=1e-12,
    )
    mu, sigma = (torch.tensor([[v]], dtype=torch.float64) for v in (mu, sigma))
    ours = objectives.gaussian_kl(mu, sigma).item()
    assert ours == pytest.approx(integral, rel=1e-9, abs=1e-12)


def test_kl_is_that_of_torch_and_of_sampling():
    mu, sigma = randn(B, D), rand(B, D) + 0.2
    q, p = distributions.Normal(mu, sigma), distributions.Normal(0.0, 1.0)
    per_latent = objectives.gaussian_kl_per_latent(mu, sigma)
    torch.testing.assert_close(per_latent, distributions.kl_divergence(q, p))
    torch.testing.assert_close(objectives.gaussian_kl(mu, sigma), per_latent.sum(-1))
    z = objectives.sample_gaussian(mu, sigma, seeded(), samples=20_000)
    assert_mean(q.log_prob(z) - p.log_prob(z), per_latent)


@given(numbers(2, 3), st.lists(positive, min_size=6, max_size=6))
def test_kl_is_never_negative(mu, sigmas):
    sigma = torch.tensor(sigmas, dtype=torch.float64).view(2, 3)
    assert (objectives.gaussian_kl_per_latent(mu, sigma) >= -1e-12).all()
    prior = objectives.gaussian_kl(torch.zeros(2, 3), torch.ones(2, 3))
    assert torch.equal(prior, torch.zeros(2))


# Sampling


def test_samples_have_the_mean_and_the_standard_deviation_asked_for():
    n, mu, sigma = 40_000, randn(2, 3), torch.tensor([0.1, 1.0, 4.0]).double()
    z = objectives.sample_gaussian(mu, sigma.expand(2, 3), seeded(), samples=n)
    assert (z.shape, z.dtype) == ((n, 2, 3), torch.float64)
    assert_mean(z, mu)
    # sigma itself, no variance or log: a relative error of 1 / sqrt(2n) is expected.
    assert ((z.std(0) / sigma - 1).abs() < 5 / (2 * n) ** 0.5).all()


@pytest.mark.parametrize("samples", [None, 4])
def test_each_latent_of_each_example_has_noise_of_its_own(samples):
    z = objectives.sample_gaussian(
        torch.zeros(50, 20), torch.ones(50, 20), seeded(), samples
    )
    assert z.shape == ((50, 20) if samples is None else (4, 50, 20))
    assert len(z.unique()) == z.numel()


def test_gradients_go_through_the_sample():
    mu, sigma = randn(B, D).requires_grad_(), (rand(B, D) + 0.5).requires_grad_()
    z = objectives.sample_gaussian(mu, sigma, seeded(7))
    to_mu, to_sigma = torch.autograd.grad(z.sum(), (mu, sigma))
    eps = randn(B, D, seed=7)
    torch.testing.assert_close(to_mu, torch.ones(B, D).double())
    torch.testing.assert_close(to_sigma, eps)
    torch.testing.assert_close(z, mu + sigma * eps)


# Bounds, on a model of which everything is known: x = w z + b + s noise, in 1-D


class Toy:
    """p(z) = N(0, 1), p(x|z) = N(w z + b, s^2) and any q(z|x) = N(mu, sigma^2)."""

    w, b, s = 1.5, 0.4, 0.8

    def __init__(self, mu=None, sigma=None):
        self.posterior_sigma = self.s / (self.w**2 + self.s**2) ** 0.5
        self.mu, self.sigma = mu, sigma or self.posterior_sigma

    def posterior_mean(self, x):
        return (x - self.b) * self.w / (self.w**2 + self.s**2)

    def log_evidence(self, x):
        return norm.logpdf(x, self.b, math.hypot(self.w, self.s))

    def encode(self, x):
        mu = self.posterior_mean(x) if self.mu is None else torch.full_like(x, self.mu)
        return mu, torch.full_like(x, self.sigma)

    def log_likelihood(self, x, z):
        return objectives.gaussian_log_likelihood(x, self.w * z + self.b, self.s)

    def elbo_by_quadrature(self, x):
        q = norm(self.mu, self.sigma)

        def integrand(z):
            log_joint = norm.logpdf(x, self.w * z + self.b, self.s) + norm.logpdf(z)
            return q.pdf(z) * (log_joint - q.logpdf(z))

        ends = self.mu - 12 * self.sigma, self.mu + 12 * self.sigma
        return quad(integrand, *ends, epsabs=1e-12)[0]


def column(x, n):
    return torch.full((n, 1), x, dtype=torch.float64)


@pytest.mark.parametrize("x", [-1.0, 0.4, 3.0])
def test_evidence_is_elbo_plus_kl_to_the_posterior(x):
    toy = Toy(mu=0.5, sigma=0.9)
    q = distributions.Normal(toy.mu, toy.sigma)
    posterior = distributions.Normal(toy.posterior_mean(x), toy.posterior_sigma)
    gap = distributions.kl_divergence(q, posterior).item()
    bound = toy.elbo_by_quadrature(x)
    assert toy.log_evidence(x) == pytest.approx(bound + gap, rel=1e-6)
    draws = objectives.elbo(toy, column(x, 20_000), generator=seeded())
    assert_mean(draws.elbo, bound)
    assert_mean(draws.elbo, toy.log_evidence(x) - gap)
    loss = objectives.negative_elbo(toy, column(x, 20_000), seeded())
    torch.testing.assert_close(loss, -draws.elbo)


def test_more_samples_leave_the_mean_and_divide_the_variance():
    toy, n = Toy(mu=0.5, sigma=0.9), 20_000
    one = objectives.elbo(toy, column(1.0, n), 1, seeded())
    ten = objectives.elbo(toy, column(1.0, n), 10, seeded(1))
    for result in one, ten:
        assert_mean(result.elbo, toy.elbo_by_quadrature(1.0))
        assert (result.log_likelihood.shape, result.kl_per_latent.shape) == (
            (n,),
            (n, 1),
        )
        assert torch.equal(result.kl, result.kl_per_latent.sum(-1))
        assert torch.equal(result.elbo, result.log_likelihood - result.kl)
    ratio = (one.elbo.var() / ten.elbo.var()).item()
    assert ratio == pytest.approx(10, rel=0.1)


def test_importance_weights_close_the_gap():
    toy, x, n = Toy(mu=0.0, sigma=1.5), 2.0, 4000
    bounds = [
        objectives.importance_weighted_bound(toy, column(x, n), samples, seeded(1))
        for samples in (1, 10, 100)
    ]
    assert_mean(bounds[0], toy.elbo_by_quadrature(x))
    for looser, tighter in pairwise(bounds):
        error = (looser.var() / n + tighter.var() / n) ** 0.5
        assert tighter.mean() - looser.mean() > 5 * error
    # Jensen: exp of the bound is an unbiased estimate of p(x), whatever K.
    for bound in bounds:
        assert_mean(bound.exp(), math.exp(toy.log_evidence(x)))
    assert abs(bounds[-1].mean() - toy.log_evidence(x)) < 0.02


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_exact_posterior_gives_the_evidence_in_every_draw(samples):
    x = 3 * randn(200, 1)
    bound = objectives.importance_weighted_bound(Toy(), x, samples, seeded(1))
    assert bound.shape == (200,)
    exact = torch.from_numpy(Toy().log_evidence(x[:, 0].numpy()))
    torch.testing.assert_close(bound, exact, rtol=1e-12, atol=1e-12)


def test_squared_error_is_summed_over_pixels_only():
    x = rand(B, D)
    error = objectives.squared_error(lambda x: x / 2, x)
    torch.testing.assert_close(error, (x / 2).square().sum(1))
    gaussian = objectives.gaussian_log_likelihood(x, x / 2, 0.5**0.5)
    torch.testing.assert_close(error, -gaussian - D / 2 * math.log(math.pi))


# Gradients against finite differences


def test_gradients_of_the_likelihoods_and_the_kl_are_right():
    x, mu = rand(B, D), randn(B, D, seed=1).requires_grad_()
    logits = randn(K, B, D, seed=2).requires_grad_()
    assert gradcheck(lambda a: objectives.bernoulli_log_likelihood(x, a), logits)
    for shape in (), (D,), (B, D):
        sigma = (rand(*shape, seed=3) + 0.5).requires_grad_()
        assert gradcheck(
            lambda m, s: objectives.gaussian_log_likelihood(x, m, s), (mu, sigma)
        )
    assert gradcheck(objectives.gaussian_kl, (mu, sigma))
    classes = torch.randint(3, (B, D), generator=seeded())
    logits = randn(B, D, 3).requires_grad_()
    assert gradcheck(
        lambda a: objectives.categorical_log_likelihood(classes, a), logits
    )


@pytest.mark.parametrize("sigma_x", [None, 0.3])
@pytest.mark.parametrize("samples", [1, 3])
def test_gradient_of_the_elbo_is_right_for_every_weight(sigma_x, samples):
    model = VariationalAutoEncoder(
        4, h_dim=3, z_dim=2, activation="tanh", sigma_x=sigma_x
    ).double()
    x, names = rand(B, 4), [name for name, _ in model.named_parameters()]

    class Bound(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self):
            return objectives.elbo(self.model, x, samples, seeded(5)).elbo

    def bound(*weights):
        weights = dict(zip((f"model.{name}" for name in names), weights, strict=True))
        return functional_call(Bound(), weights)

    assert gradcheck(bound, tuple(model.parameters()))
    for name, gradient in zip(
        names,
        torch.autograd.grad(bound(*model.parameters()).sum(), model.parameters()),
        strict=True,
    ):
        assert gradient.abs().max() > 0, name


# A linear VAE is probabilistic PCA, where every quantity has a closed form


class LinearVae:
    """The best linear decoder and its posterior (Tipping and Bishop 1999)."""

    def __init__(self, mean, eigenvalues, vectors, q):
        self.mean, self.kept = mean, eigenvalues[:q]
        self.sigma_x = eigenvalues[q:].mean().sqrt()
        self.weight = vectors[:, :q] * (self.kept - self.sigma_x**2).sqrt()  # (D, Z)
        self.shift, self.sigma = 0.0, self.sigma_x / self.kept.sqrt()

    def encode(self, x):
        mu = (x - self.mean) @ (self.weight / self.kept) + self.shift
        return mu, self.sigma.expand_as(mu)

    def log_likelihood(self, x, z):
        x_mu = z @ self.weight.T + self.mean
        return objectives.gaussian_log_likelihood(x, x_mu, self.sigma_x)


def principal_components(x):
    """The mean; eigenvalues (largest first) and vectors of the 1/N covariance."""
    mean = x.mean(0)
    covariance = x.T @ x / len(x) - mean.outer(mean)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return mean, eigenvalues.flip(0), vectors.flip(1)


@pytest.fixture(scope="module")
def digits(mnist_train):
    x = mnist_train[0].double()
    return x, principal_components(x)


def test_eigenvalues_are_those_of_scikit_learn(digits):
    x = digits[0][:2000, 350:450]
    pca = PCA(svd_solver="full").fit(x.numpy())
    theirs = pca.explained_variance_ * (len(x) - 1) / len(x)
    np.testing.assert_allclose(principal_components(x)[1], theirs, atol=1e-10)


@pytest.mark.parametrize(
    ("q", "printed"), [(2, 12.4277), (10, 182.1547), (20, 299.7584), (50, 507.9054)]
)
def test_linear_vae_reaches_the_likelihood_of_probabilistic_pca(q, printed, digits):
    x, (mean, eigenvalues, vectors) = digits
    model = LinearVae(mean, eigenvalues, vectors, q)
    kept, log_variance = eigenvalues[:q], 2 * model.sigma_x.log().item()
    closed = -0.5 * (
        784 * (math.log(2 * math.pi) + 1)
        + kept.log().sum().item()
        + (784 - q) * log_variance
    )
    assert closed == pytest.approx(printed, abs=5e-5)

    generator, bounds, kls = seeded(q), [], []
    for chunk in x.split(2000):
        bounds.append(objectives.importance_weighted_bound(model, chunk, 1, generator))
        kls.append(objectives.gaussian_kl_per_latent(*model.encode(chunk)))
    assert torch.cat(bounds).mean().item() == pytest.approx(closed, rel=1e-6)
    per_unit = torch.cat(kls).mean(0)
    torch.testing.assert_close(per_unit, 0.5 * (kept.log() - log_variance))

    noise = model.sigma_x**2 * torch.eye(784, dtype=torch.float64)
    exact = distributions.MultivariateNormal(
        mean, model.weight @ model.weight.T + noise, validate_args=False
    ).log_prob(x[:200])
    torch.testing.assert_close(bounds[0][:200], exact, rtol=1e-8, atol=1e-6)


def test_elbo_of_the_linear_vae_is_the_likelihood_on_average(digits):
    x, components = digits
    model = LinearVae(*components, 10)
    exact = objectives.importance_weighted_bound(model, x[:1000], 1, seeded())
    result = objectives.elbo(model, x[:1000], 4, seeded(1))
    assert_mean(result.elbo - exact, 0)
    kl = objectives.gaussian_kl_per_latent(*model.encode(x[:1000]))
    assert torch.equal(result.kl_per_latent, kl)


@pytest.mark.parametrize(("shift", "stretch"), [(0.3, 1), (0, 1.5), (0, 0.7)])
def test_any_other_encoder_loses_its_kl_to_the_posterior(shift, stretch, digits):
    x, components = digits
    model = LinearVae(*components, 10)
    exact = objectives.importance_weighted_bound(model, x[:1000], 1, seeded())
    posterior = distributions.Normal(*model.encode(x[:1000]))
    model.shift, model.sigma = shift, model.sigma * stretch
    q = distributions.Normal(*model.encode(x[:1000]))
    gap = distributions.kl_divergence(q, posterior).sum(1).mean().item()
    worse = objectives.elbo(model, x[:1000], 4, seeded(1)).elbo
    assert gap > 0.5
    assert_mean(worse - exact, -gap)
