"""Train the bundled checkpoints again, and print the lines of README.md about them.

Run it from the repository root: .venv/bin/python vaelib/assets/train_checkpoints.py
It takes names of checkpoints; without any it trains all. It writes checkpoints/*.pt, in
half precision, and brings SHA256SUMS up to date. On one machine the same bytes come out
every time; on another the bound differs by about 0.1.
"""

import hashlib
import sys
from typing import NamedTuple

import torch
from torch import nn

from vaelib import data, disentanglement, models, objectives, training

SETTINGS = {"epochs": 20, "batch_size": 250, "learning_rate": 0.014, "device": "cpu"}
# A mixed model trains with its KL weighted by a falling beta, and then without; at the
# usual rate the second training could blow up once the categories were settled.
BETA_START = 20
ANNEALING = SETTINGS | {"epochs": 4, "learning_rate": 0.02}
AFTER = SETTINGS | {"epochs": 10, "learning_rate": 0.005}
CATS = 40_000  # to train on


class Recipe(NamedTuple):
    """What a checkpoint is trained on, its network's widths and seed, and its loss."""

    data_set: str
    hidden: int
    latents: int
    seed: int = 0
    loss: training.Loss = objectives.negative_elbo
    categories: int = 0  # of the switch, if it has one


RECIPES = {
    "mnist_z20": Recipe("mnist", 400, 20),
    "mnist_z2": Recipe("mnist", 400, 2),
}
for seed in range(5):
    RECIPES[f"cats_z10_seed{seed}"] = Recipe("cats", 128, 10, seed)
    for beta in (0.5, 1, 2, 4, 8, 16):
        loss = disentanglement.beta_vae_loss(beta)
        RECIPES[f"cats_beta{beta}_seed{seed}"] = Recipe("cats", 48, 6, seed, loss)
    for beta in (2, 4, 8):
        loss = disentanglement.beta_tcvae_loss(beta, CATS)
        RECIPES[f"cats_tc{beta}_seed{seed}"] = Recipe("cats", 48, 6, seed, loss)
    loss = objectives.negative_mixed_elbo
    RECIPES[f"cats_mixed_seed{seed}"] = Recipe("cats", 64, 3, seed, loss, 3)


def images_of(data_set: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The images to train and to test on."""
    if data_set == "cats":
        return data.cats(CATS, seed=0).images, data.cats(10_000, seed=1).images
    return data.load(data_set)[0], data.load(data_set, train=False)[0]


def build(recipe: Recipe, data_mean=None) -> nn.Module:
    """The network of a checkpoint: 784-H-Z with SiLU, and a switch if it has one."""
    widths = [784, recipe.hidden, recipe.latents]
    how = {"activation": "silu", "data_mean": data_mean, "seed": recipe.seed}
    if recipe.categories:
        return models.MixedVariationalAutoEncoder(*widths, recipe.categories, **how)
    return models.VariationalAutoEncoder(*widths, **how)


def fit_mixed(model: nn.Module, train: torch.Tensor, recipe: Recipe) -> None:
    """Train with a KL that is dear at first, so that latents open one at a time."""
    steps = ANNEALING["epochs"] * len(train) // ANNEALING["batch_size"]
    annealed = objectives.AnnealedMixedElbo(BETA_START, steps)
    for loss, settings in (annealed, ANNEALING), (recipe.loss, AFTER):
        how = settings | {"test_loss": recipe.loss, "seed": recipe.seed}
        training.fit(model, train, loss=loss, **how)


def update_hashes() -> None:
    """Write the SHA-256 of every bundled file to SHA256SUMS, as sha256sum does."""
    files = sorted((data.ASSETS / "mnist").glob("*.gz"))
    files += sorted((data.ASSETS / "checkpoints").glob("*.pt"))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  "
        f"{path.relative_to(data.ASSETS).as_posix()}\n"
        for path in files
    ]
    (data.ASSETS / "SHA256SUMS").write_text("".join(lines), "utf-8", newline="\n")


def main() -> None:
    folder = data.ASSETS / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RECIPES:
        recipe = RECIPES[name]
        train, test = images_of(recipe.data_set)
        model = build(recipe, train.mean(0))
        bound = objectives.negative_elbo
        if recipe.categories:
            bound = recipe.loss
            fit_mixed(model, train, recipe)
        else:
            training.fit(model, train, loss=recipe.loss, seed=recipe.seed, **SETTINGS)
        weights = {key: value.half() for key, value in model.state_dict().items()}
        full = training.evaluate(model, test, bound).mean().item()
        model.load_state_dict(weights)
        half = training.evaluate(model, test, bound).mean().item()
        torch.save(weights, folder / f"{name}.pt")
        print(f"{name}: {full:.2f} nats; in half precision {half:.2f}", flush=True)
    update_hashes()


if __name__ == "__main__":
    main()
