"""Losses and measures against enumeration, quadrature, closed forms, scikit-learn."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm, rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import mutual_info_score, r2_score
from torch import distributions
from torch.autograd import gradcheck
from torch.func import functional_call

from vaelib import disentanglement
from vaelib.models import VariationalAutoEncoder
from vaelib.objectives import negative_elbo

B, D, Z = 5, 6, 3
LOG_2, LOG_20 = math.log(2), math.log(20)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def assert_mean(draws, truth, errors=5):
    """The mean of independent draws is within some standard errors of the truth."""
    standard_error = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - truth).abs() / (standard_error + 1e-12)
    assert (off < errors).all(), f"off by {off.tolist()} standard errors"


@pytest.fixture
def untouched():
    """Fails if a test has drawn from a global generator."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


# The two losses


@pytest.fixture(scope="module")
def vae():
    return VariationalAutoEncoder(D, h_dim=7, z_dim=Z, activation="tanh").double()


X = rand(B, D).round()


def parts_by_torch(model, seed):
    """The negative log-likelihood (B,), the KL (B,), z, mu, sigma of one draw each."""
    mu, sigma = model.encode(X)
    z = mu + sigma * randn(B, Z, seed=seed)
    pixels = distributions.Bernoulli(logits=model.decode_logits(z))
    q = distributions.Normal(mu, sigma)
    kl = distributions.kl_divergence(q, distributions.Normal(0 * mu, 1 + 0 * mu))
    return -pixels.log_prob(X).sum(-1), kl.sum(-1), z, mu, sigma


def log_q_by_loops(z, mu, sigma, examples):
    """Estimates of log q(z) and of log q(z_j), weighed one by one."""
    z, mu, sigma = (t.detach().numpy() for t in (z, mu, sigma))
    batch, latents = z.shape
    joint, each = np.zeros(batch), np.zeros((batch, latents))
    for b in range(batch):
        weights = np.full(batch, (examples - 1) / examples / (batch - 1))
        weights[b] = 1 / examples
        log_q = norm.logpdf(z[b], mu, sigma)  # (B, Z)
        joint[b] = logsumexp(log_q.sum(1), b=weights)
        for j in range(latents):
            each[b, j] = logsumexp(log_q[:, j], b=weights)
    return torch.from_numpy(joint), torch.from_numpy(each)


@pytest.mark.parametrize(
    "make", [disentanglement.beta_vae_loss, lambda b: tcvae(b, examples=20)]
)
def test_beta_of_one_is_the_negative_elbo(vae, make):
    ours = make(1)(vae, X, seeded(3))
    torch.testing.assert_close(ours, negative_elbo(vae, X, seeded(3)))
    assert ours.shape == (B,)


def tcvae(beta, examples=20):
    return disentanglement.beta_tcvae_loss(beta, examples)


@pytest.mark.parametrize("beta", [0, 0.25, 4])
def test_beta_vae_weighs_the_kl(vae, beta):
    ours = disentanglement.beta_vae_loss(beta)(vae, X, seeded(4))
    nll, kl, *_ = parts_by_torch(vae, 4)
    torch.testing.assert_close(ours, nll + beta * kl)


@pytest.mark.parametrize("beta", [0, 0.25, 4])
@pytest.mark.parametrize("examples", [B, 1000])
def test_beta_tcvae_weighs_the_total_correlation(vae, beta, examples):
    ours = tcvae(beta, examples)(vae, X, seeded(5))
    nll, kl, z, mu, sigma = parts_by_torch(vae, 5)
    joint, each = log_q_by_loops(z, mu, sigma, examples)
    total_correlation = joint - each.sum(1)
    assert total_correlation.abs().max() > 0.01
    torch.testing.assert_close(ours, nll + kl + (beta - 1) * total_correlation)


@pytest.mark.parametrize("make", [disentanglement.beta_vae_loss, tcvae])
def test_gradients_of_the_losses_are_those_of_finite_differences(vae, make):
    names = [name for name, _ in vae.named_parameters()]

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = vae

        def forward(self):
            return make(3.0)(self.model, X, seeded(6))

    def loss(*weights):
        weights = dict(zip((f"model.{name}" for name in names), weights, strict=True))
        return functional_call(Loss(), weights)

    assert gradcheck(loss, tuple(vae.parameters()))


def test_losses_draw_from_the_generator_only(vae, untouched):
    for loss in disentanglement.beta_vae_loss(2), tcvae(2):
        one, two = loss(vae, X, seeded(1)), loss(vae, X, seeded(2))
        assert torch.equal(one, loss(vae, X, seeded(1))) and not torch.equal(one, two)


@pytest.mark.parametrize("beta", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("make", [disentanglement.beta_vae_loss, tcvae])
def test_beta_that_is_no_weight_is_refused(make, beta):
    with pytest.raises(ValueError, match=f"at least 0 but is {beta}"):
        make(beta)


def test_too_few_examples_are_refused(vae):
    with pytest.raises(ValueError, match="examples is 1 but must be at least 2"):
        tcvae(2, examples=1)
    with pytest.raises(ValueError, match="examples is 4 and the batch 5"):
        tcvae(2, examples=4)(vae, X)


# log q(z) from a batch


def mixture(mu, sigma):
    """q(z) and its latents alone, by torch.distributions."""
    index = distributions.Categorical(torch.ones(len(mu), dtype=mu.dtype))
    normal = distributions.Independent(distributions.Normal(mu, sigma), 1)
    joint = distributions.MixtureSameFamily(index, normal)
    each = [
        distributions.MixtureSameFamily(index, distributions.Normal(m, s))
        for m, s in zip(mu.T, sigma.T, strict=True)
    ]
    return joint, lambda z: torch.stack(
        [q.log_prob(z[:, j]) for j, q in enumerate(each)], 1
    )


MU, SIGMA = 1.5 * randn(6, 2, seed=1), 0.2 + rand(6, 2, seed=2)  # six examples
CODES = MU + SIGMA * randn(6, 2, seed=3)


def test_whole_data_set_as_a_batch_is_exact():
    joint, each = disentanglement.minibatch_log_q(CODES, MU, SIGMA, 6)
    exact, exact_each = mixture(MU, SIGMA)
    torch.testing.assert_close(joint, exact.log_prob(CODES))
    torch.testing.assert_close(each, exact_each(CODES))


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_average_over_all_batches_is_the_density(batch):
    exact, exact_each = mixture(MU, SIGMA)
    for own in range(6):
        rest = [n for n in range(6) if n != own]
        densities, logs = [], []
        for others in combinations(rest, batch - 1):
            place = sum(others) % batch  # the own example need not come first
            rows = [*others[:place], own, *others[place:]]
            joint, each = disentanglement.minibatch_log_q(
                CODES[rows], MU[rows], SIGMA[rows], 6
            )
            at = rows.index(own)
            logs.append(torch.cat([joint[at : at + 1], each[at]]))
            densities.append(logs[-1].exp())
        z = CODES[own : own + 1]
        truth = torch.cat([exact.log_prob(z), exact_each(z)[0]])
        torch.testing.assert_close(torch.stack(densities).mean(0), truth.exp())
        assert (torch.stack(logs).mean(0) <= truth + 1e-12).all()  # Jensen


def test_codes_that_know_their_example_are_counted_once_in_all():
    mu, sigma = 100 * torch.arange(8.0).double().view(4, 2), torch.full((4, 2), 0.1)
    z = mu + 0.1 * randn(4, 2)
    joint, each = disentanglement.minibatch_log_q(z, mu, sigma.double(), 1000)
    own = distributions.Normal(mu, sigma.double()).log_prob(z)
    torch.testing.assert_close(joint, own.sum(1) - math.log(1000))
    torch.testing.assert_close(each, own - math.log(1000))


@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("width", [1e-3, 3.0])
def test_minibatch_estimates_and_gradients_stay_finite(spread, width):
    # Wide, 200 latents have densities far below what float32 can hold.
    mu = (spread * randn(64, 200)).float().requires_grad_()
    sigma = (width * (0.5 + rand(64, 200))).float().requires_grad_()
    z = mu + sigma * randn(64, 200, seed=1).float()
    joint, each = disentanglement.minibatch_log_q(z, mu, sigma, 60_000)
    assert joint.dtype == each.dtype == torch.float32
    assert joint.shape == (64,) and each.shape == (64, 200)
    (joint - each.sum(1)).sum().backward()
    for values in joint, each, mu.grad, sigma.grad:
        assert values.isfinite().all()


@pytest.mark.parametrize(("batch", "examples"), [(1, 10), (6, 5), (1, 1)])
def test_batch_that_does_not_fit_the_examples_is_refused(batch, examples):
    given = CODES[:batch], MU[:batch], SIGMA[:batch], examples
    with pytest.raises(ValueError, match=f"{examples} and the batch {batch}: both"):
        disentanglement.minibatch_log_q(*given)


# The mean KL in three parts


def assert_constant(draws, truth):
    torch.testing.assert_close(draws, torch.full_like(draws, truth), rtol=0, atol=1e-6)


def kl_of_normals(mu, sigma):
    q, prior = distributions.Normal(mu, sigma), distributions.Normal(0.0, 1.0)
    return distributions.kl_divergence(q, prior)


@pytest.mark.parametrize("latents", [2, 4])
def test_parts_of_all_corners(latents):
    mu = tensor(*product([-1.0, 1.0], repeat=latents))
    sigma = torch.full_like(mu, 0.01)
    parts = disentanglement.kl_parts(mu, sigma, 500, seeded())
    assert parts.index_code_mi.shape == parts.total_correlation.shape == (500,)
    assert parts.dimension_wise_kl.shape == (500, latents)
    assert_constant(parts.index_code_mi, latents * LOG_2)
    assert_constant(parts.total_correlation, 0.0)
    assert_mean(parts.dimension_wise_kl, kl_of_normals(mu, sigma)[0] - LOG_2)


@pytest.mark.parametrize("latents", [2, 5])
def test_parts_of_two_opposite_corners(latents):
    mu = torch.ones(2, latents).double() * tensor(1, -1).unsqueeze(1)
    sigma = torch.full_like(mu, 0.01)
    parts = disentanglement.kl_parts(mu, sigma, 500, seeded())
    assert_constant(parts.index_code_mi, LOG_2)
    assert_constant(parts.total_correlation, (latents - 1) * LOG_2)
    assert_mean(parts.dimension_wise_kl, kl_of_normals(mu, sigma)[0] - LOG_2)


@pytest.mark.parametrize("latents", [1, 3])
def test_one_latent_alone_has_no_total_correlation(latents):
    mu, sigma = torch.zeros(50, latents).double(), torch.ones(50, latents).double()
    mu[:, 0], sigma[:, 0] = randn(50), 0.1 + rand(50)
    parts = disentanglement.kl_parts(mu, sigma, 200, seeded())
    assert_constant(parts.total_correlation, 0.0)
    assert parts.index_code_mi.mean() > 0.5
    assert_constant(parts.dimension_wise_kl[:, 1:], 0.0)


def test_constant_encoder_tells_nothing():
    mu, sigma = torch.zeros(100, Z).double(), torch.ones(100, Z).double()
    for part in disentanglement.kl_parts(mu, sigma, 200, seeded()):
        assert_constant(part, 0.0)
    mu, sigma = mu + tensor(1, 0, -2), sigma * tensor(0.5, 1, 3)
    parts = disentanglement.kl_parts(mu, sigma, 20_000, seeded())
    assert_constant(parts.index_code_mi, 0.0)
    assert_constant(parts.total_correlation, 0.0)
    assert_mean(parts.dimension_wise_kl, kl_of_normals(mu, sigma)[0])


THREE_MU = tensor((-1.0, 0.3), (0.2, -1.4), (1.5, 0.8))
THREE_SIGMA = tensor((0.3, 0.8), (0.5, 0.2), (0.7, 0.4))


def test_dimension_wise_kl_is_the_integral_that_defines_it():
    parts = disentanglement.kl_parts(THREE_MU, THREE_SIGMA, 50_000, seeded())
    truth = []
    for m, s in zip(THREE_MU.T.numpy(), THREE_SIGMA.T.numpy(), strict=True):

        def integrand(z, m=m, s=s):
            density = norm.pdf(z, m, s).mean()
            return density * (np.log(density) - norm.logpdf(z))

        truth.append(quad(integrand, -8, 8, points=list(m), limit=500)[0])
    assert_mean(parts.dimension_wise_kl, tensor(*truth))


def test_all_three_parts_are_the_integrals_over_the_plane():
    axis = np.linspace(-8, 8, 1601)
    area = (axis[1] - axis[0]) ** 2
    densities = [
        norm.pdf(axis, m[0], s[0])[:, None] * norm.pdf(axis, m[1], s[1])
        for m, s in zip(THREE_MU.numpy(), THREE_SIGMA.numpy(), strict=True)
    ]
    q = np.mean(densities, 0) + 1e-300  # (G, G)
    of_one, of_other = q.sum(1) * area**0.5, q.sum(0) * area**0.5
    mi = np.mean([(d * (np.log(d + 1e-300) - np.log(q))).sum() for d in densities])
    tc = (q * (np.log(q) - np.log(of_one[:, None] * of_other))).sum()
    parts = disentanglement.kl_parts(THREE_MU, THREE_SIGMA, 50_000, seeded(1))
    assert 0.1 < tc * area < mi * area < math.log(3)
    assert_mean(parts.index_code_mi, mi * area)
    assert_mean(parts.total_correlation, tc * area)


@pytest.mark.parametrize("seed", [0, 1])
def test_linear_gaussian_encoder_has_the_closed_forms(seed):
    # x with exactly the mean 0 and the covariance I, so that q(z) has exactly C.
    x = randn(20_000, Z, seed=seed)
    x = x - x.mean(0)
    x = x @ torch.linalg.cholesky(torch.linalg.inv(x.T @ x / len(x)))
    weight = tensor((1.0, 0.4, 0.0), (0.9, 0.1, 0.6), (0.2, 0.9, 1.1))
    sigma = tensor(0.6, 0.9, 0.7)
    c = weight @ weight.T + sigma.square().diag()
    parts = disentanglement.kl_parts(
        x @ weight.T, sigma.expand(len(x), Z), 1000, seeded(seed)
    )
    of_each = c.diagonal().log()
    mi = 0.5 * c.logdet() - sigma.log().sum()
    tc = 0.5 * (of_each.sum() - c.logdet())
    assert tc > 0.2
    assert_mean(parts.index_code_mi, mi, errors=4)
    assert_mean(parts.total_correlation, tc, errors=4)
    assert_mean(parts.dimension_wise_kl, 0.5 * (c.diagonal() - 1 - of_each), errors=4)


def test_parts_of_many_wide_latents_stay_finite_in_float32():
    mu, sigma = randn(30, 200).float(), 3 + rand(30, 200).float()
    for part in disentanglement.kl_parts(mu, sigma, 50, seeded()):
        assert part.dtype == torch.float32 and part.isfinite().all()


def test_three_parts_add_up_to_the_mean_kl():
    mu, sigma = randn(300, 4), 0.1 + rand(300, 4, seed=1)
    parts = disentanglement.kl_parts(mu, sigma, 20_000, seeded())
    total = parts.index_code_mi + parts.total_correlation
    total = total + parts.dimension_wise_kl.sum(1)
    assert_mean(total, kl_of_normals(mu, sigma).sum(1).mean())


@pytest.mark.parametrize("examples", [2, 30])
def test_index_is_worth_log_n_at_most(examples):
    mu = 50 * randn(examples, 6)
    parts = disentanglement.kl_parts(mu, torch.ones_like(mu), 300, seeded())
    assert (parts.index_code_mi <= math.log(examples) + 1e-9).all()
    assert parts.index_code_mi.mean() > math.log(examples) - 0.01


@pytest.mark.parametrize("chunk", [1, 700, 2**30])
def test_chunks_change_nothing_but_the_memory(monkeypatch, chunk):
    mu, sigma = randn(40, 3), 0.1 + rand(40, 3, seed=1)
    whole = disentanglement.kl_parts(mu, sigma, 77, seeded())
    held, original = [], disentanglement._log_densities

    def remember(z, mu, sigma):
        held.append(original(z, mu, sigma))
        return held[-1]

    monkeypatch.setattr(disentanglement, "CHUNK", chunk)
    monkeypatch.setattr(disentanglement, "_log_densities", remember)
    for ours, truth in zip(
        disentanglement.kl_parts(mu, sigma, 77, seeded()), whole, strict=True
    ):
        torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
    assert max(tensor.numel() for tensor in held) <= max(chunk, mu.numel())
    assert sum(len(tensor) for tensor in held) == 77


def test_parts_draw_from_the_generator_only(untouched):
    def drawn(seed):
        return disentanglement.kl_parts(MU, SIGMA, generator=seeded(seed))

    assert torch.equal(drawn(1).index_code_mi, drawn(1).index_code_mi)
    assert not torch.equal(drawn(1).index_code_mi, drawn(2).index_code_mi)
    assert len(drawn(1).index_code_mi) == 1000


@pytest.mark.parametrize(
    ("mu", "sigma", "samples", "error", "message"),
    [
        (MU, SIGMA, 0, ValueError, "samples is 0 but must be at least 1"),
        (MU, SIGMA[:5], 9, ValueError, r"\(6, 2\) but sigma has \(5, 2\)"),
        (MU, SIGMA[:1], 9, ValueError, r"\(6, 2\) but sigma has \(1, 2\)"),
        (MU, SIGMA[:, :1], 9, ValueError, "but sigma has"),
        (MU, SIGMA * torch.arange(6).view(6, 1), 9, ValueError, "must be positive"),
        (MU, SIGMA * torch.arange(5, -1, -1).view(6, 1), 1, ValueError, "positive"),
        (MU[0], SIGMA[0], 9, ValueError, "one row per example"),
        (MU.long(), SIGMA, 9, TypeError, "floating point"),
        (MU.tolist(), SIGMA, 9, TypeError, "must be a tensor"),
    ],
)
def test_parts_refuse_what_does_not_fit(mu, sigma, samples, error, message):
    with pytest.raises(error, match=message):
        disentanglement.kl_parts(mu, sigma, samples)


# Mutual information


def bins_by_scipy(values, bins):
    """The bin of each number, with equal numbers in one bin."""
    below = rankdata(values.numpy(), method="min").astype(int) - 1
    return below * bins // len(values)


@pytest.mark.parametrize("bins", [2, 5, 20])
def test_information_is_that_of_scikit_learn(bins, untouched):
    v = randn(1003, 2, seed=1)
    factors = {
        "a number": v[:, 0],
        "float32": v[:, 1].float(),
        "categories": (v[:, 0] + v[:, 1] > 0).long() + (v[:, 1] > 0.7),
        "labels with gaps": torch.where(v[:, 0] > 0.3, 90, -7),
        "true or false": v[:, 1] > 0,
        "few levels": (3 * v[:, 1]).round(),
    }
    codes = torch.stack(
        [v[:, 0] + randn(1003), v.prod(1), -v[:, 1].exp(), (2 * v[:, 0]).round()], 1
    )
    ours = disentanglement.mutual_information(codes, factors, bins)
    assert ours.shape == (4, 6)
    entropies = disentanglement.entropies(factors, bins)
    for k, values in enumerate(factors.values()):
        own = values
        if values.is_floating_point():
            own = torch.from_numpy(bins_by_scipy(values, bins))
        assert entropies[k].item() == pytest.approx(mutual_info_score(own, own))
        for j in range(4):
            truth = mutual_info_score(bins_by_scipy(codes[:, j], bins), own)
            assert ours[j, k].item() == pytest.approx(truth, abs=1e-9)


def cells_of_a_gaussian(rho, bins):
    """The probabilities of a correlated pair in equally likely bins, (bins, bins)."""
    ends = norm.ppf(np.linspace(0, 1, bins + 1)).clip(-12, 12)
    grid = np.stack(np.meshgrid(ends, ends, indexing="ij"), -1)
    below = multivariate_normal.cdf(grid, cov=[[1, rho], [rho, 1]])
    return np.diff(np.diff(below, axis=0), axis=1).clip(1e-12)


def test_information_of_a_correlated_gaussian(untouched):
    n, rho = 200_000, 0.8
    truth, found = -0.5 * math.log(1 - rho**2), []
    v = randn(n, 2)
    codes, factors = (rho * v[:, 0] + 0.6 * v[:, 1]).unsqueeze(1), {"v": v[:, 0]}
    for bins in 4, 10, 20, 40:
        cells = cells_of_a_gaussian(rho, bins)
        log_ratio = np.log(cells * bins**2)
        exact = (cells * log_ratio).sum()
        error = math.sqrt((cells * (log_ratio - exact) ** 2).sum() / n)
        bias = (bins - 1) ** 2 / (2 * n)
        ours = disentanglement.mutual_information(codes, factors, bins).item()
        assert abs(ours - bias - exact) < 5 * error
        found.append((exact, ours))
    # The finer the bins, the less is lost: to the closed form from below.
    gaps = [truth - exact for exact, _ in found]
    assert gaps == sorted(gaps, reverse=True) and 0 < gaps[-1] < 0.02 * truth
    assert found[-1][1] == pytest.approx(truth, rel=0.03)


def test_independent_codes_have_the_stated_bias():
    n, bins, found = 4000, 20, []
    for seed in range(20):
        v = randn(n, 4, seed=seed)
        factors = {"a": v[:, 2], "b": v[:, 3]}
        found.append(disentanglement.mutual_information(v[:, :2], factors, bins))
    found = torch.stack(found).view(-1, 1)  # (80, 1)
    # (bins - 1)^2 / 2N: the docstring's bins^2 / 2N, but for its edges.
    assert_mean(found, (bins - 1) ** 2 / (2 * n))
    assert found.mean() == pytest.approx(bins**2 / (2 * n), rel=0.15)


def test_information_is_never_negative_and_never_above_an_entropy():
    for seed in range(5):
        factors = {"v": torch.randint(3, (60,), generator=seeded(seed)).double()}
        codes = torch.randint(4, (60, 5), generator=seeded(seed + 9)).double()
        found = disentanglement.mutual_information(codes, factors)
        assert (found >= 0).all()
        assert (found <= disentanglement.entropies(factors) + 1e-12).all()
    for a, b in product(range(2, 9), repeat=2):  # exactly 0, but for rounding
        codes = levels(a, b, 1).double().unsqueeze(1)
        found = disentanglement.mutual_information(codes, {"v": levels(b, 1, a)})
        assert 0 <= found.item() < 1e-12


def test_silent_latent_tells_nothing_whatever_the_order_of_the_examples():
    factors = {"sorted": torch.linspace(0, 1, 400), "c": torch.arange(400) // 100}
    codes = torch.full((400, 1), 0.1)
    found = disentanglement.mutual_information(codes, factors)
    assert torch.equal(found, torch.zeros_like(found))


MEASURES = [
    disentanglement.mutual_information,
    disentanglement.mutual_information_gap,
    lambda codes, factors: disentanglement.dci(codes, factors, codes, factors),
    lambda codes, factors: disentanglement.dci(GOOD[0], GOOD[1], codes, factors),
]
GOOD = randn(50, 2), {"v": randn(50, seed=1), "c": torch.arange(50) % 2}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("codes", "factors", "error", "message"),
    [
        (GOOD[0], {}, ValueError, "factors is empty"),
        (GOOD[0], {"v": randn(49)}, ValueError, r"'v' has shape \(49,\) but there ar"),
        (GOOD[0], {"v": randn(50, 1)}, ValueError, r"'v' has shape \(50, 1\)"),
        (GOOD[0], {"v": 3.0}, ValueError, r"'v' has shape \(\)"),
        (GOOD[0], {"v": torch.full((50,), 0.1)}, ValueError, "'v' never varies"),
        (GOOD[0], {"c": torch.ones(50).long()}, ValueError, "'c' never varies"),
        (GOOD[0][:, 0], GOOD[1], ValueError, "one row per example"),
        (GOOD[0].tolist(), GOOD[1], TypeError, "codes must be a tensor"),
        (GOOD[0].long(), GOOD[1], TypeError, "codes has dtype torch.int64"),
    ],
)
def test_measures_refuse_what_does_not_fit(measure, codes, factors, error, message):
    with pytest.raises(error, match=message):
        measure(codes, factors)


# The mutual information gap


def levels(number, repeats, times):
    """0, 1, ... number - 1, each `repeats` times in a row, all that `times` times."""
    return torch.arange(number).repeat_interleave(repeats).repeat(times)


# All combinations of two grids of 20 and 4 categories, and so exactly independent.
GRID = {
    "u": levels(20, 80, 1) / 19,
    "v": levels(20, 4, 20) / 19 - 3,
    "c": levels(4, 1, 400),
}
LATENTS = torch.stack([GRID["v"], -GRID["c"].float(), GRID["u"].exp()], 1)


def gap(codes, factors=GRID, bins=20):
    return disentanglement.mutual_information_gap(codes, factors, bins)


@pytest.mark.parametrize("bins", [5, 20, 40])
def test_gap_of_a_perfect_code_is_one(bins):
    torch.testing.assert_close(gap(LATENTS, bins=bins), tensor(1, 1, 1))


def test_entropies_of_grids_and_categories():
    torch.testing.assert_close(
        disentanglement.entropies(GRID), tensor(LOG_20, LOG_20, math.log(4))
    )
    skew = {"c": torch.tensor([5, 5, 5, -1])}
    truth = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert disentanglement.entropies(skew).item() == pytest.approx(truth)


def test_gap_is_to_the_second_best_and_a_share_of_the_entropy():
    u, v = levels(20, 80, 1), levels(20, 4, 20)
    codes = torch.stack([u // 4, u // 2, v // 10, u], 1).float()
    # 20 levels against 10; of v only the halves; of c nothing.
    truth = tensor(LOG_2 / LOG_20, LOG_2 / LOG_20, 0)
    torch.testing.assert_close(gap(codes), truth)
    torch.testing.assert_close(gap(codes[:, :3])[:2], truth[:2])
    # Without the two best for u, log 5 is ahead of nothing.
    torch.testing.assert_close(
        gap(codes[:, [0, 2]]), tensor(math.log(5) / LOG_20, LOG_2 / LOG_20, 0)
    )


def test_gap_of_a_duplicated_latent_is_zero():
    codes = torch.cat([LATENTS, LATENTS[:, :1].sinh()], 1)
    torch.testing.assert_close(gap(codes), tensor(1, 0, 1))


HADAMARD = tensor((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1)) / 2


def normal_factors(examples, seed):
    values = randn(examples, 4, seed=seed)
    return values, dict(zip("abcd", values.T, strict=True))


def test_gap_of_rotated_and_of_useless_codes_is_near_zero():
    values, factors = normal_factors(8000, 0)
    assert gap(values, factors).min() > 0.95
    assert gap(values @ HADAMARD, factors).max() < 0.02
    assert gap(randn(8000, 4, seed=1), factors).max() < 0.02


def test_gap_is_the_same_after_permutations_signs_and_monotone_changes():
    values, factors = normal_factors(2000, 2)
    codes = values[:, :3] + 0.5 * randn(2000, 3, seed=3)
    truth = gap(codes, factors)
    assert truth[:3].min() > 0.1 and truth.max() < 0.9
    changed = torch.stack([codes[:, 2].exp(), -codes[:, 0], codes[:, 1] ** 3 + 5], 1)
    torch.testing.assert_close(gap(changed, factors), truth)
    order = torch.randperm(2000, generator=seeded())
    shuffled = {name: values[order] for name, values in factors.items()}
    torch.testing.assert_close(gap(codes[order], shuffled), truth)


def test_gap_needs_two_latents():
    with pytest.raises(ValueError, match="there is no second best of one"):
        gap(LATENTS[:, :1])


# Disentanglement, completeness, informativeness


def split(codes, factors, known=1500):
    """Known codes and factors, and new ones."""
    before = {name: values[:known] for name, values in factors.items()}
    after = {name: values[known:] for name, values in factors.items()}
    return codes[:known], before, codes[known:], after


def test_dci_of_a_perfect_code(untouched):
    values, factors = normal_factors(3000, 0)
    factors["d"] = (values[:, 3] > 0.4).long() + (values[:, 3] > 1)
    codes = values[:, [2, 0, 3, 1]]
    found = disentanglement.dci(*split(codes, factors))
    assert found.disentanglement > 0.99 and found.completeness > 0.99
    assert found.informativeness.min() > 0.97
    assert found.importance.argmax(0).tolist() == [1, 3, 0, 2]
    torch.testing.assert_close(found.importance.sum(0), torch.ones(4).double())


def test_dci_of_a_rotated_code_is_informative_all_the_same():
    values, factors = normal_factors(3000, 1)
    found = disentanglement.dci(*split(values @ HADAMARD, factors))
    assert found.disentanglement < 0.05 and found.completeness < 0.05
    assert found.informativeness.min() > 0.75


def test_dci_of_a_useless_code_is_not_informative():
    _, factors = normal_factors(3000, 2)
    factors["d"] = torch.arange(3000) % 3
    found = disentanglement.dci(*split(randn(3000, 4, seed=9), factors))
    assert found.informativeness.max() < 0.05
    # Learned by heart, the known examples would look well explained.
    known_codes, known_factors, *_ = split(randn(3000, 4, seed=9), factors)
    again = disentanglement.dci(known_codes, known_factors, known_codes, known_factors)
    assert again.informativeness.min() > 0.1


def test_dci_of_a_factor_in_two_latents_is_disentangled_but_not_complete():
    values, factors = normal_factors(3000, 3)
    del factors["d"]
    codes = torch.stack([values[:, 0], -values[:, 0], values[:, 1], values[:, 2]], 1)
    found = disentanglement.dci(*split(codes, factors))
    assert found.disentanglement > 0.99
    # One factor of three is shared evenly by two latents of four.
    truth = (1 - LOG_2 / math.log(4) + 1 + 1) / 3
    assert found.completeness == pytest.approx(truth, abs=0.03)


def test_dci_of_two_factors_in_one_latent_is_complete_but_not_disentangled():
    u, v = (torch.randint(4, (3000,), generator=seeded(s)).double() for s in (0, 1))
    w = randn(3000, seed=2)
    codes = torch.stack([4 * u + v, w], 1)
    found = disentanglement.dci(*split(codes, {"u": u, "v": v, "w": w}))
    assert found.completeness > 0.99 and found.informativeness.min() > 0.97
    # Two thirds of all importance lie where two factors of three share one latent.
    truth = 2 / 3 * (1 - LOG_2 / math.log(3)) + 1 / 3
    assert found.disentanglement == pytest.approx(truth, abs=0.01)


@pytest.fixture(scope="module")
def mixed():
    """Codes that carry five factors, two of them categories, neither well nor badly."""
    values, factors = normal_factors(2000, 4)
    factors["e"] = (values[:, 0] * values[:, 1] > 0.2).long() * 8
    factors["f"] = torch.bucketize(values[:, 0].contiguous(), tensor(-1, 0.5))
    del factors["d"]
    turned = torch.linalg.qr(randn(4, 4, seed=6)).Q
    codes = (values + 0.3 * values @ turned)[:, :3].float()
    known = split(codes, factors)
    return known, disentanglement.dci(*known, seed=7)


def test_scores_are_those_defined_from_the_importance(mixed):
    importance = mixed[1].importance.numpy()  # (Z, F)
    assert importance.shape == (3, 5)
    of_latents = []
    for row in importance:
        p = row / row.sum()
        of_latents.append(1 + sum(p * np.log(p)) / math.log(5))
    of_factors = [1 + sum(p * np.log(p)) / math.log(3) for p in importance.T]
    weights = importance.sum(1) / importance.sum()
    truth = float(weights @ of_latents)
    assert abs(truth - np.mean(of_latents)) > 1e-3  # the weights do matter
    assert mixed[1].disentanglement == pytest.approx(truth)
    assert mixed[1].completeness == pytest.approx(np.mean(of_factors))


def test_forests_are_those_of_scikit_learn(mixed):
    (known, factors, new, new_factors), found = mixed
    for k, (name, values) in enumerate(factors.items()):
        target, truth = values.numpy(), new_factors[name].numpy()
        if not values.is_floating_point():
            kinds = np.unique(target)
            target, truth = target[:, None] == kinds, truth[:, None] == kinds
        forest = RandomForestRegressor(
            disentanglement.TREES,
            min_samples_leaf=disentanglement.LEAF,
            max_samples=0.5,
            random_state=7,
        ).fit(known.numpy(), target * 1.0)
        np.testing.assert_allclose(
            found.importance[:, k], forest.feature_importances_, rtol=1e-6
        )
        # The share of the variance of all columns together, on new examples.
        guess = forest.predict(new.numpy())
        score = r2_score(truth * 1.0, guess, multioutput="variance_weighted")
        assert found.informativeness[k].item() == pytest.approx(score, abs=1e-5)


def test_dci_is_that_of_its_seed(mixed, untouched):
    known, first = mixed
    assert torch.equal(disentanglement.dci(*known, seed=7).importance, first.importance)
    other = disentanglement.dci(*known, seed=8)
    assert not torch.equal(other.importance, first.importance)
    assert other.disentanglement == pytest.approx(first.disentanglement, abs=0.05)


def test_dci_takes_the_new_factors_by_their_names(mixed):
    (known, factors, new, new_factors), first = mixed
    turned_round = dict(reversed(new_factors.items()))
    found = disentanglement.dci(known, factors, new, turned_round, seed=7)
    assert torch.equal(found.informativeness, first.informativeness)


def test_dci_refuses_what_does_not_fit():
    codes, factors = GOOD
    for known in (codes[:, :1], factors), (codes, {"v": factors["v"]}):
        with pytest.raises(ValueError, match="give at least two of each"):
            disentanglement.dci(*known, *known)
    with pytest.raises(ValueError, match="the new factors lack 'c'"):
        disentanglement.dci(codes, factors, codes, {"v": factors["v"]})
    with pytest.raises(ValueError, match="the new 'c' has other categories"):
        other = factors | {"c": torch.arange(50) % 3}
        disentanglement.dci(codes, factors, codes, other)
    with pytest.raises(ValueError, match="features"):
        disentanglement.dci(codes, factors, randn(50, 3), factors)


# The vote


def test_vote_of_a_perfect_code_is_right_every_time():
    fixed = torch.randint(3, (300,), generator=seeded())
    variances = 0.5 + rand(300, 5)
    latent_of = torch.tensor([4, 0, 2])
    variances[torch.arange(300), latent_of[fixed]] = 0.1
    score, votes = disentanglement.majority_vote(variances, fixed)
    assert score == 1 and isinstance(score, float)
    truth = torch.zeros(5, 3, dtype=torch.long)
    truth[latent_of, torch.arange(3)] = fixed.bincount()
    assert torch.equal(votes, truth)


def test_vote_of_a_useless_code_is_chance():
    fixed = torch.randint(4, (20_000,), generator=seeded())
    score, _ = disentanglement.majority_vote(rand(20_000, 3), fixed)
    assert 0.25 <= score < 0.27
    often = torch.where(rand(20_000, seed=1) < 0.6, 2, fixed)
    score, _ = disentanglement.majority_vote(rand(20_000, 3), often)
    assert score == pytest.approx((often == 2).double().mean().item())


def test_vote_by_hand():
    variances = tensor((0.1, 0.9), (0.2, 0.9), (0.3, 0.4), (0.8, 0.1), (0.9, 0.2))
    score, votes = disentanglement.majority_vote(
        variances, torch.tensor([2, 2, 0, 0, 2])
    )
    # Latent 0 gets factors 2, 2, 0 and stands for 2; latent 1 gets 0 and 2.
    assert votes.tolist() == [[1, 0, 2], [1, 0, 1]]
    assert score == pytest.approx(3 / 5)


def test_vote_allows_two_latents_for_a_factor_and_none_for_another():
    variances = tensor((0.1, 0.9), (0.9, 0.1), (0.1, 0.9), (0.9, 0.1))
    score, votes = disentanglement.majority_vote(variances, torch.tensor([1, 1, 1, 0]))
    assert votes.tolist() == [[0, 2], [1, 1]] and score == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("variances", "fixed", "error", "message"),
    [
        (rand(5, 2), torch.zeros(4).long(), ValueError, r"\(4,\) but there are 5"),
        (rand(5, 2), torch.zeros(5, 1).long(), ValueError, r"\(5, 1\) but there are 5"),
        (rand(5), torch.zeros(5).long(), ValueError, "variances has shape"),
        (torch.zeros(0, 2), torch.zeros(0).long(), ValueError, "variances is empty"),
    ],
)
def test_vote_refuses_what_does_not_fit(variances, fixed, error, message):
    with pytest.raises(error, match=message):
        disentanglement.majority_vote(variances, fixed)
