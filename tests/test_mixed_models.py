"""The model with Gaussian latents and a category: its network, bound and annealing."""

import math

import pytest
import torch
from torch import distributions, nn

from vaelib import data, objectives, training
from vaelib.models import (
    OUTPUT_SHRINKAGE,
    SIGMA_FLOOR,
    MixedVariationalAutoEncoder,
    VariationalAutoEncoder,
    load_weights,
)

B, D, H, Z, C, K = 4, 6, 5, 2, 3, 7
KEYS = {"data_mean"} | {
    f"{layer}.{part}"
    for layer in (
        *("img_2hid", "hid_2mu", "hid_2sigma", "hid_2logits"),
        *("latents_2hid", "hid_2img"),
    )
    for part in ("weight", "bias")
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed))


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def mixed(**options):
    sizes = {"h_dim": H, "z_dim": Z, "categories": C}
    return MixedVariationalAutoEncoder(D, **sizes | options)


def lively(**options):
    """A model whose weights are large enough for every part to matter."""
    model = mixed(**options)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model


def one_hot(y):
    return nn.functional.one_hot(torch.as_tensor(y), C).float()


def assert_mean(draws, truth, errors=5):
    """The mean of independent draws is within some standard errors of the truth."""
    standard_error = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - truth).abs() / standard_error
    assert (off < errors).all(), f"off by {off.max():.1f} standard errors"


# The network


def test_encoder_is_one_hidden_layer_and_three_heads():
    model, x = mixed(activation="tanh", data_mean=rand(D, seed=1)), rand(B, D)
    centred = x - model.data_mean
    h = torch.tanh(centred @ model.img_2hid.weight.T + model.img_2hid.bias)
    mu, sigma, logits = model.encode_both(x)
    torch.testing.assert_close(mu, h @ model.hid_2mu.weight.T + model.hid_2mu.bias)
    raw = h @ model.hid_2sigma.weight.T + model.hid_2sigma.bias
    torch.testing.assert_close(sigma, (1 + raw.exp()).log(), atol=1e-5, rtol=0)
    head = model.hid_2logits
    torch.testing.assert_close(logits, h @ head.weight.T + head.bias)
    assert (mu.shape, sigma.shape, logits.shape) == ((B, Z), (B, Z), (B, C))
    for ours, theirs in zip(model.encode(x), (mu, sigma), strict=True):
        assert torch.equal(ours, theirs)


def test_sigma_stays_above_0_where_softplus_underflows():
    model = mixed()
    model.hid_2sigma.bias.data.fill_(-1e4)
    assert (model.encode(rand(B, D))[1] >= SIGMA_FLOOR).all()


def test_category_moves_the_decoders_first_bias_and_nothing_else():
    model, z = lively(), randn(B, Z)
    weight, bias = model.latents_2hid.weight, model.latents_2hid.bias
    for y in range(C):
        h = nn.functional.silu(z @ weight[:, :Z].T + bias + weight[:, Z + y])
        expected = h @ model.hid_2img.weight.T + model.hid_2img.bias
        torch.testing.assert_close(model.decode_logits(z, one_hot(y)), expected)
        torch.testing.assert_close(model.decode(z, one_hot(y)), expected.sigmoid())


@pytest.mark.parametrize(
    ("z_rows", "y_rows", "rows"),
    [
        ((B,), (B,), (B,)),
        ((B,), (), (B,)),
        ((), (B,), (B,)),
        ((K, B), (B,), (K, B)),
        ((B,), (C, 1), (C, B)),
        ((), (), ()),
    ],
)
def test_z_and_y_broadcast(z_rows, y_rows, rows):
    model, z, y = lively(), randn(*z_rows, Z), rand(*y_rows, C)
    pixels = model.decode(z, y)
    assert pixels.shape == (*rows, D)
    z, y = z.expand(*rows, Z), y.expand(*rows, C)
    torch.testing.assert_close(pixels, model.decode(z, y))
    assert ((pixels >= 0) & (pixels <= 1)).all()


def test_likelihood_is_bernoulli():
    model, x, z = lively(), rand(B, D).round(), randn(K, B, Z)
    y = one_hot([0, 2, 1, 2])
    expected = distributions.Bernoulli(model.decode(z, y)).log_prob(x).sum(-1)
    torch.testing.assert_close(model.log_likelihood(x, z, y), expected)


@pytest.mark.parametrize("rows", [(B,), (K, B), (2, K, B)])
def test_likelihood_of_all_is_that_of_each_category(rows):
    model, x, z = lively(), rand(B, D), randn(*rows, Z)
    together = model.log_likelihood_of_all(x, z)
    assert together.shape == (*rows, C)
    for y in range(C):
        alone = model.log_likelihood(x, z, one_hot(y))
        torch.testing.assert_close(together[..., y], alone)
    assert (together.std(-1) > 0.01).all()


def test_state_names_and_widths():
    model = MixedVariationalAutoEncoder(784)
    assert set(model.state_dict()) == KEYS
    assert {name for name, _ in model.named_parameters()} == KEYS - {"data_mean"}
    assert model.img_2hid.weight.shape == (64, 784)
    assert model.latents_2hid.weight.shape == (64, 6)
    assert isinstance(model.activation, nn.SiLU)


def test_weights_follow_the_seed_alone():
    torch.manual_seed(1)
    first, state = mixed(seed=3).state_dict(), torch.get_rng_state()
    torch.manual_seed(2)
    again, other = mixed(seed=3).state_dict(), mixed(seed=4).state_dict()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    for key in first:
        assert torch.equal(first[key], again[key])
        assert key == "data_mean" or not torch.equal(first[key], other[key])


def test_no_two_layers_start_alike():
    model = MixedVariationalAutoEncoder(6, 6, 3, 3)
    layers = [layer.weight for layer in model.children() if hasattr(layer, "weight")]
    assert len(layers) == 6
    for i, layer in enumerate(layers):
        for other in layers[:i]:
            rows = min(len(layer), len(other))
            assert not torch.equal(layer[:rows], other[:rows])


def test_data_mean_starts_the_decoder_there():
    mean = torch.tensor([0.0, 1e-5, 0.2, 0.5, 0.9, 1.0])
    model = mixed(data_mean=mean)
    plain = mixed().hid_2img.weight
    torch.testing.assert_close(model.hid_2img.weight, OUTPUT_SHRINKAGE * plain)
    model.hid_2img.weight.data.zero_()
    start = model.decode(randn(B, Z), one_hot(0))
    torch.testing.assert_close(start, mean.clamp(1e-3, 1 - 1e-3).expand(B, D))


@pytest.mark.parametrize(
    "options",
    [
        {"h_dim": 0},
        {"z_dim": 0},
        {"categories": 1},
        {"categories": 0},
        {"categories": True},
        {"categories": 2.0},
        {"activation": "gelu"},
        {"data_mean": torch.zeros(D + 1)},
        {"data_mean": torch.full((D,), 2.0)},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"h_dim|z_dim|categories|gelu|data_mean"):
        mixed(**options)


def test_wrong_inputs_are_named():
    model = mixed()
    with pytest.raises(ValueError, match=r"x has shape \(4, 7\).* must be 6"):
        model.encode_both(rand(B, D + 1))
    with pytest.raises(ValueError, match=r"z has shape \(4, 3\).* must be 2"):
        model.decode(randn(B, Z + 1), one_hot(0))
    with pytest.raises(ValueError, match=r"y has shape \(4, 2\).* must be 3"):
        model.decode(randn(B, Z), rand(B, C - 1))
    with pytest.raises(TypeError, match=r"y has dtype torch\.int64"):
        model.decode(randn(B, Z), torch.tensor([1, 0, 0]))


# The KL of a category


@pytest.mark.parametrize("shape", [(C,), (B, C), (K, B, C), (B, 2), (B, 10)])
def test_kl_of_a_category_is_that_of_torch(shape):
    logits = 3 * randn(*shape)
    uniform = distributions.Categorical(logits=torch.zeros(shape))
    theirs = distributions.kl_divergence(
        distributions.Categorical(logits=logits), uniform
    )
    ours = objectives.categorical_kl_per_latent(logits)
    assert ours.shape == shape[:-1]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    shifted = objectives.categorical_kl_per_latent(logits + 5)
    torch.testing.assert_close(shifted, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e4, 1e30])
def test_saturated_logits_keep_kl_and_gradient_finite(size):
    logits = torch.tensor([[size, 0.0, -size], [0, 0, 0]], requires_grad=True)
    kl = objectives.categorical_kl_per_latent(logits)
    assert ((kl > -1e-6) & (kl < math.log(C) + 1e-6)).all()
    assert kl[1].abs() < 1e-6
    assert size < 1e2 or kl[0].item() == pytest.approx(math.log(C))
    kl.sum().backward()
    assert logits.grad.isfinite().all()


def test_gradient_of_the_kl_is_that_of_finite_differences():
    logits = randn(B, C).double().requires_grad_()
    assert torch.autograd.gradcheck(objectives.categorical_kl_per_latent, logits)


def test_kl_refuses_what_is_no_choice():
    for shape in (), (B, 1), (B, 0):
        with pytest.raises(ValueError, match="two or more categories"):
            objectives.categorical_kl_per_latent(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"logits has dtype torch\.int64"):
        objectives.categorical_kl_per_latent(torch.tensor([0, 1, 2]))


# The bound


def test_bound_is_the_enumeration_written_out():
    model, x = lively(), rand(B, D)
    ours = objectives.mixed_elbo(model, x, K, seeded(3))
    mu, sigma, logits = model.encode_both(x)
    z = mu + sigma * randn(K, B, Z, seed=3)
    q = distributions.Categorical(logits=logits)
    fit = torch.zeros(B)
    for y in range(C):
        each = distributions.Bernoulli(model.decode(z, one_hot(y)))
        # Grey pixels: the mean of the log-likelihood over their binarised draws.
        log_p = x * each.logits - nn.functional.softplus(each.logits)
        fit += q.probs[:, y] * log_p.sum(-1).mean(0)
    normal = distributions.Normal(mu, sigma)
    kl_z = distributions.kl_divergence(normal, distributions.Normal(0.0, 1.0))
    kl_y = distributions.kl_divergence(
        q, distributions.Categorical(torch.ones(B, C) / C)
    )
    torch.testing.assert_close(ours.log_likelihood, fit)
    torch.testing.assert_close(ours.kl_per_latent, kl_z)
    torch.testing.assert_close(ours.kl_category, kl_y, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.kl, kl_z.sum(1) + kl_y)
    torch.testing.assert_close(ours.elbo, fit - kl_z.sum(1) - kl_y)
    loss = objectives.negative_mixed_elbo(model, x, seeded(4))
    single = objectives.mixed_elbo(model, x, 1, seeded(4))
    assert torch.equal(loss, -single.elbo)
    assert loss.shape == (B,)


def test_sum_over_categories_is_the_mean_of_drawn_ones():
    model, x, draws = lively(), rand(B, D), 20_000
    with torch.no_grad():
        mu, sigma, logits = model.encode_both(x)
        assert logits.softmax(-1).amax(-1).min() < 0.9
        q = distributions.Categorical(logits=logits)
        y = torch.multinomial(q.probs, draws, True, generator=seeded(1)).T  # (K, B)
        z = objectives.sample_gaussian(mu, sigma, seeded(2), draws)
        drawn = model.log_likelihood(x, z, one_hot(y)) + math.log(1 / C)
        drawn = drawn - q.log_prob(y) - objectives.gaussian_kl(mu, sigma)
        summed = objectives.mixed_elbo(model, x, draws, seeded(5))
    # Both sides are sampled: the summed one has the smaller error, so four will do.
    assert_mean(drawn, summed.elbo, 4 * 2**0.5)


@pytest.mark.parametrize("make", [mixed, lively])
def test_bound_lies_below_the_evidence(make):
    """p(x) by draws from the prior, and by importance sampling, which must agree."""
    model, x, draws = make(seed=1), rand(B, D).round(), 100_000
    with torch.no_grad():
        z = randn(draws, 1, Z, seed=2).expand(draws, B, Z)
        by_prior = model.log_likelihood_of_all(x, z).exp().mean(-1).double()
        mu, sigma = model.encode(x)
        sigma = sigma + 1.5  # wider than the prior, so that the weights are bounded
        z = objectives.sample_gaussian(mu, sigma, seeded(1), draws)
        log_q = distributions.Normal(mu, sigma).log_prob(z).sum(-1)
        log_p = distributions.Normal(0, 1).log_prob(z).sum(-1)
        given_z = model.log_likelihood_of_all(x, z).logsumexp(-1) - math.log(C)
        weights = (given_z + log_p - log_q).exp().double()
        bound = objectives.mixed_elbo(model, x, 10_000, seeded(3)).elbo
    assert_mean(by_prior - weights, 0)
    assert (bound < by_prior.mean(0).log()).all()


def test_without_a_choice_it_is_the_bound_of_a_vae():
    """Where y says nothing and is not read, z alone is left."""
    model = lively()
    model.hid_2logits.weight.data.zero_()
    model.hid_2logits.bias.data.zero_()
    model.latents_2hid.weight.data[:, Z:] = 0
    plain = VariationalAutoEncoder(D, H, Z, activation="silu")
    weights = model.state_dict()
    names = {"z_2hid": "latents_2hid"}
    for name, value in plain.state_dict().items():
        layer = name.split(".")[0]
        source = weights[name.replace(layer, names.get(layer, layer))]
        value.copy_(source[:, :Z] if name == "z_2hid.weight" else source)
    x = rand(B, D)
    ours = objectives.mixed_elbo(model, x, K, seeded(1))
    theirs = objectives.elbo(plain, x, K, seeded(1))
    torch.testing.assert_close(ours.elbo, theirs.elbo)


def test_bound_refuses_zero_samples():
    with pytest.raises(ValueError, match="samples is 0"):
        objectives.mixed_elbo(mixed(), rand(B, D), 0)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_gradients_are_finite_at_saturated_logits(size):
    model, x = lively(), rand(B, D)
    model.hid_2logits.bias.data = torch.tensor([size, 0.0, -size])
    objectives.negative_mixed_elbo(model, x, seeded()).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()


# Annealing and training


def test_annealed_loss_weights_the_whole_kl():
    model, x = lively(), rand(B, D)
    loss = objectives.AnnealedMixedElbo(20, 4)
    for beta in 20, 15.25, 10.5, 5.75, 1, 1, 1:
        assert loss.beta == pytest.approx(beta)
        parts = objectives.mixed_elbo(model, x, generator=seeded(6))
        kl = parts.kl_per_latent.sum(1) + parts.kl_category
        torch.testing.assert_close(
            loss(model, x, seeded(6)), beta * kl - parts.log_likelihood
        )
    plain = objectives.negative_mixed_elbo(model, x, seeded(6))
    torch.testing.assert_close(loss(model, x, seeded(6)), plain)


@pytest.mark.parametrize("wrong", [(0.5, 10), (math.inf, 10), (math.nan, 10), (20, 0)])
def test_annealing_refuses_what_it_cannot_do(wrong):
    with pytest.raises(ValueError, match="both must be at least 1"):
        objectives.AnnealedMixedElbo(*wrong)


def test_annealing_refuses_a_cuda_graph(monkeypatch):
    monkeypatch.setattr(objectives, "is_capturing", lambda x: True)
    with pytest.raises(RuntimeError, match='use device="cpu"'):
        objectives.AnnealedMixedElbo(20, 4)(mixed(), rand(B, D))


def test_fit_trains_it_and_calls_the_annealed_loss_once_a_step():
    kinds = torch.randint(C, (1000,), generator=seeded())
    train = torch.eye(C).repeat(1, 2)[kinds] * (0.5 + 0.5 * rand(1000, 1))
    model, loss = mixed(data_mean=train.mean(0)), objectives.AnnealedMixedElbo(3, 10)
    history = training.fit(
        *(model, train, train),
        loss=loss,
        test_loss=objectives.negative_mixed_elbo,
        batch_size=100,
        progress=False,
        device="cpu",
    )
    assert loss.calls == 20  # the test loss is another, and does not count
    assert history.test_loss[-1] < history.test_loss[0]
    assert history.kl_per_latent[-1].shape == (Z,)


def test_fit_checks_that_pixels_are_in_range():
    with pytest.raises(ValueError, match="train must lie in"):
        training.fit(mixed(), 2 * rand(500, D), loss=objectives.negative_mixed_elbo)


def test_checkpoint_of_other_categories_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_weights(mixed(), "nothing", tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        load_weights(MixedVariationalAutoEncoder(784, 128, 10), "cats_z10_seed0")


@pytest.fixture(scope="module")
def cats():
    return data.cats(2000, seed=3)


@pytest.mark.parametrize("seed", range(5))
def test_bundled_models_know_the_species_and_the_knobs(seed, cats):
    """What notebook 07 says of them: a category a species, and a latent a knob."""
    model = load_weights(MixedVariationalAutoEncoder(784), f"cats_mixed_seed{seed}")
    with torch.no_grad():
        mu, _, logits = model.encode_both(cats.images)
    pairs = torch.stack([cats.species, logits.argmax(1)], 1)
    assert len(pairs.unique(dim=0)) == 3
    together = torch.cat([mu, cats.knobs], 1).argsort(0).argsort(0).double()
    by_rank = torch.corrcoef(together.T)[:3, 3:].abs()  # (Z, knobs)
    assert (by_rank.amax(0) > 0.95).all()
    assert (by_rank.sort(0).values[:2] < 0.2).all()
