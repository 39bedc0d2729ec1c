"""The networks: their interface, where they start, and their checkpoints."""

import functools
import hashlib
import io
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaelib import data, objectives, training
from vaelib.models import (
    ACTIVATIONS,
    OUTPUT_SHRINKAGE,
    SIGMA_FLOOR,
    Autoencoder,
    MixedVariationalAutoEncoder,
    VariationalAutoEncoder,
    load_weights,
)

B, D, H, Z = 3, 6, 5, 2
VAE_KEYS = {
    "data_mean",
    *(
        f"{layer}.{part}"
        for layer in ("img_2hid", "hid_2mu", "hid_2sigma", "z_2hid", "hid_2img")
        for part in ("weight", "bias")
    ),
}
AE_KEYS = VAE_KEYS - {
    f"hid_2{q}.{p}" for q in ("mu", "sigma") for p in ("weight", "bias")
}
AE_KEYS |= {"hid_2z.weight", "hid_2z.bias"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed))


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def vae(**options):
    return VariationalAutoEncoder(D, **{"h_dim": H, "z_dim": Z} | options)


def autoencoder(**options):
    return Autoencoder(D, **{"h_dim": H, "z_dim": Z} | options)


def blank(model):
    """Zero weights and biases but for those of the output."""
    for name, parameter in model.named_parameters():
        if name != "hid_2img.bias":
            parameter.data.zero_()
    return model


def test_shape_test_of_the_notes():
    x = torch.randn(4, 28 * 28, generator=seeded())
    model = VariationalAutoEncoder(input_dim=784)
    x_reconstructed, mu, sigma = model(x)
    assert x_reconstructed.shape == (4, 784)
    assert mu.shape == sigma.shape == (4, 20)
    assert (sigma > 0).all()
    assert model.img_2hid.out_features == 200


def test_forward_decodes_one_sample_of_the_encoder():
    model, x = vae(), rand(B, D)
    x_reconstructed, mu, sigma = model(x, seeded(3))
    encoded = model.encode(x)
    assert torch.equal(mu, encoded[0])
    assert torch.equal(sigma, encoded[1])
    z = mu + sigma * randn(B, Z, seed=3)
    torch.testing.assert_close(x_reconstructed, model.decode(z))
    assert not torch.equal(x_reconstructed, model(x, seeded(4))[0])


def test_encoder_is_the_network_of_the_notes():
    model, x = vae(activation="tanh"), rand(B, D)
    h = torch.tanh(x @ model.img_2hid.weight.T + model.img_2hid.bias)
    mu, sigma = model.encode(x)
    torch.testing.assert_close(mu, h @ model.hid_2mu.weight.T + model.hid_2mu.bias)
    raw = h @ model.hid_2sigma.weight.T + model.hid_2sigma.bias
    torch.testing.assert_close(sigma, (1 + raw.exp()).log(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [vae, autoencoder])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda h: h.clamp(min=0)),
        ("silu", lambda h: h / (1 + (-h).exp())),
        ("tanh", lambda h: 2 / (1 + (-2 * h).exp()) - 1),
        ("sigmoid", lambda h: 1 / (1 + (-h).exp())),
        ("identity", lambda h: h),
    ],
)
def test_activation_is_the_one_named(make, name, function):
    assert set(ACTIVATIONS) == {"relu", "silu", "tanh", "sigmoid", "identity"}
    model, z = make(activation=name), randn(B, Z)
    h = function(z @ model.z_2hid.weight.T + model.z_2hid.bias)
    decode = model.decode if make is autoencoder else model.decode_logits
    expected = h @ model.hid_2img.weight.T + model.hid_2img.bias
    torch.testing.assert_close(decode(z), expected)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=D, max_size=D),
    st.sampled_from([1e-4, 1, 1e4]),
    st.sampled_from(sorted(ACTIVATIONS)),
)
def test_sigma_is_positive_and_pixels_in_range_for_any_input(x, scale, activation):
    model = vae(activation=activation)
    x_reconstructed, mu, sigma = model(scale * torch.tensor([x]), seeded())
    assert sigma.dtype == torch.float32
    assert (sigma >= SIGMA_FLOOR).all()
    assert sigma.isfinite().all()
    assert ((x_reconstructed >= 0) & (x_reconstructed <= 1)).all()
    assert objectives.gaussian_kl(mu, sigma).isfinite().all()


@pytest.mark.parametrize("raw", [-1e4, -1e30])
def test_sigma_stays_above_0_where_softplus_underflows(raw):
    model = blank(vae())
    model.hid_2sigma.bias.data.fill_(raw)
    _, sigma = model.encode(rand(B, D))
    assert (sigma > 0).all()


@pytest.mark.parametrize("shape", [(B, Z), (4, B, Z)])
def test_pixels_are_the_sigmoid_of_their_logits(shape):
    model, z = vae(), 5 * randn(*shape)
    logits, pixels = model.decode_logits(z), model.decode(z)
    assert logits.shape == pixels.shape == (*shape[:-1], D)
    torch.testing.assert_close(pixels, 1 / (1 + (-logits).exp()))
    assert ((pixels >= 0) & (pixels <= 1)).all()


@pytest.mark.parametrize("shape", [(B, Z), (4, B, Z)])
def test_likelihood_is_bernoulli_or_gaussian_with_sigma_x(shape):
    x, z = rand(B, D).round(), randn(*shape)
    model = vae()
    bernoulli = torch.distributions.Bernoulli(model.decode(z)).log_prob(x).sum(-1)
    torch.testing.assert_close(model.log_likelihood(x, z), bernoulli)
    model = vae(sigma_x=0.3)
    normal = torch.distributions.Normal(model.decode(z), 0.3).log_prob(x).sum(-1)
    torch.testing.assert_close(model.log_likelihood(x, z), normal)


def test_autoencoder_encodes_and_decodes():
    model, x = autoencoder(activation="identity"), rand(B, D)
    z = model.encode(x)
    assert z.shape == (B, Z)
    assert model(x).shape == (B, D)
    assert torch.equal(model(x), model.decode(z))
    line = model(torch.stack([x[0], x[1], (x[0] + x[1]) / 2]))
    torch.testing.assert_close(line[2], (line[0] + line[1]) / 2)


def test_untrained_decoder_starts_at_the_data_mean():
    mean = torch.tensor([0.0, 1e-5, 0.2, 0.5, 0.9, 1.0])
    z = randn(B, Z)
    start = blank(vae(data_mean=mean)).decode(z)
    torch.testing.assert_close(start, mean.clamp(1e-3, 1 - 1e-3).expand(B, D))
    assert torch.equal(blank(autoencoder(data_mean=mean)).decode(z), mean.expand(B, D))


def test_data_mean_shrinks_what_z_adds_to_it():
    def spread(model):
        return model.decode_logits(randn(B, Z)) - model.hid_2img.bias

    centred, plain = spread(vae(data_mean=rand(D))), spread(vae())
    torch.testing.assert_close(centred, OUTPUT_SHRINKAGE * plain)
    assert centred.abs().max() < 0.5 * plain.abs().max()


@pytest.mark.parametrize("make", [vae, autoencoder])
def test_encoder_centres_its_input(make):
    mean, x = rand(D, seed=1), rand(B, D)
    centred, plain = make(data_mean=mean), make()
    assert torch.equal(centred.data_mean, mean)
    assert torch.equal(plain.data_mean, torch.zeros(D))
    pairs = zip(centred.encode(x + mean), plain.encode(x), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)
    mean.zero_()  # the model keeps a copy
    assert (centred.data_mean > 0).all()


@pytest.mark.parametrize("make", [vae, autoencoder])
def test_data_mean_may_come_in_double_precision(make):
    mean, x = rand(D, seed=1), rand(B, D)
    double, single = make(data_mean=mean.double()), make(data_mean=mean)
    assert double.data_mean.dtype == torch.float32
    for ours, theirs in zip(double.encode(x), single.encode(x), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", [vae, autoencoder])
def test_weights_follow_the_seed_alone(make):
    torch.manual_seed(1)
    first = make(seed=3).state_dict()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again, other = make(seed=3).state_dict(), make(seed=4).state_dict()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    for key in first:
        assert torch.equal(first[key], again[key])
        assert key == "data_mean" or not torch.equal(first[key], other[key])


@pytest.mark.parametrize("make", [vae, autoencoder])
def test_no_two_layers_start_alike(make):
    model = make(h_dim=D, z_dim=D)
    layers = [layer.weight for layer in model.children() if hasattr(layer, "weight")]
    for i, layer in enumerate(layers):
        assert not any(torch.equal(layer, other) for other in layers[:i])
        assert layer.abs().max() <= D**-0.5  # what nn.Linear starts with


@pytest.mark.parametrize(("make", "keys"), [(vae, VAE_KEYS), (autoencoder, AE_KEYS)])
def test_state_has_the_names_of_the_notes(make, keys):
    assert set(make().state_dict()) == keys
    assert {name for name, _ in make().named_parameters()} == keys - {"data_mean"}


# Checkpoints


def store(folder, weights, name="vae"):
    file = io.BytesIO()
    torch.save(weights, file)
    path = folder / f"checkpoints/{name}.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(file.getvalue())
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  checkpoints/{name}.pt\n")
    return path


@pytest.mark.parametrize("make", [vae, autoencoder])
def test_half_precision_checkpoint_comes_back(make, tmp_path):
    trained = make(seed=5, data_mean=rand(D))
    half = {key: value.half() for key, value in trained.state_dict().items()}
    store(tmp_path, half)
    model = make()
    assert load_weights(model, "vae", tmp_path) is model
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, half[key].float())
    x = rand(B, D)
    for ours, theirs in zip(model.encode(x), trained.encode(x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "other", [{"h_dim": 7}, {"z_dim": 3}, {"h_dim": 7, "z_dim": 3}], ids=str
)
def test_checkpoint_of_other_widths_is_refused_whole(other, tmp_path):
    store(tmp_path, vae(**other).state_dict())
    model, before = vae(seed=1), vae(seed=1).state_dict()
    with pytest.raises(ValueError, match=r"'vae' does not fit.* there but .* here"):
        load_weights(model, "vae", tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_damaged_or_missing_checkpoint_is_named(tmp_path):
    path = store(tmp_path, vae().state_dict())
    content = path.read_bytes()
    for damaged in content[:-1], content[:99] + b"\0" + content[100:], b"":
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=r"checkpoints/vae\.pt is truncated or"):
            load_weights(vae(), "vae", tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"checkpoints/vae\.pt is missing"):
        load_weights(vae(), "vae", tmp_path)


def test_checkpoint_cannot_run_code(tmp_path):
    """A pickle that calls a function is refused, although its hash is right."""
    store(tmp_path, {"data_mean": pytest.fail})
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_weights(vae(), "vae", tmp_path)


# What the README of the assets says of each bundled checkpoint, row by row.
ROWS = re.findall(
    r"^\| ([\w.]+) \| 784-(\d+)-(\d+)(?:\+(\d+))? \| ([\d.]+) \| `(\w+)` \|$",
    (data.ASSETS / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@functools.cache
def images_of(kind):
    if kind == "cats":
        return data.cats(10_000, seed=1).images
    return data.load(kind, train=False)[0]


def test_each_bundled_checkpoint_has_a_row():
    bundled = sorted(path.stem for path in (data.ASSETS / "checkpoints").iterdir())
    assert sorted(name for name, *_ in ROWS) == bundled


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_bundled_checkpoint_is_what_its_row_says(row):
    name, h_dim, z_dim, categories, bound, digest = row
    content = data.asset_bytes(f"checkpoints/{name}.pt")
    assert hashlib.sha256(content).hexdigest() == digest
    model = VariationalAutoEncoder(784, int(h_dim), int(z_dim), activation="silu")
    loss = objectives.negative_elbo
    if categories:
        widths = int(h_dim), int(z_dim), int(categories)
        model = MixedVariationalAutoEncoder(784, *widths)
        loss = objectives.negative_mixed_elbo
    load_weights(model, name)
    loss = training.evaluate(model, images_of(name.split("_")[0]), loss)
    assert loss.mean().item() == pytest.approx(float(bound), abs=0.01)
