"""Train the bundled checkpoints again, and print the lines of README.md about them.

Run it from the repository root: .venv/bin/python vaelib/assets/train_checkpoints.py
It writes checkpoints/*.pt, in half precision, and brings SHA256SUMS up to date. On one
machine the same bytes come out every time; on another the bound differs by about 0.1.
"""

import hashlib

import torch

from vaelib import data, models, training

EPOCHS = 20
SETTINGS = {"batch_size": 250, "learning_rate": 0.014}
RECIPES = {"mnist_z20": 20, "mnist_z2": 2}  # name: latents


def build(latents: int, data_mean=None) -> models.VariationalAutoEncoder:
    """The network of every checkpoint here: 784-400-Z with SiLU."""
    return models.VariationalAutoEncoder(
        784, 400, latents, activation="silu", data_mean=data_mean
    )


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
    (train, _), (test, _) = data.load("mnist"), data.load("mnist", train=False)
    folder = data.ASSETS / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name, latents in RECIPES.items():
        model = build(latents, train.mean(0))
        training.fit(model, train, epochs=EPOCHS, device="cpu", **SETTINGS)
        weights = {key: value.half() for key, value in model.state_dict().items()}
        full = training.evaluate(model, test).mean().item()
        model.load_state_dict(weights)
        half = training.evaluate(model, test).mean().item()
        torch.save(weights, folder / f"{name}.pt")
        print(f"{name}: {full:.2f} nats; in half precision {half:.2f}", flush=True)
    update_hashes()


if __name__ == "__main__":
    main()
