"""Four-knob cats: 28 x 28 grey-scale faces drawn from fur, size, ears and species."""

from typing import NamedTuple

import torch
from torch import Tensor

SPECIES = ("house cat", "tiger", "lion")
CAT_SIDE = 28  # pixels along each edge
CAT_CENTRE = 17.0  # pixels from the top to the middle of the head; above it, the ears
CAT_CHUNK = 80  # cats drawn at once: few enough that torch stays on one thread, for
# at this size sharing each small step between threads costs more than it saves


class Cats(NamedTuple):
    """Drawn cats and the knobs that made them."""

    images: Tensor  # (N, 784) float32 in [0, 1]
    knobs: Tensor  # (N, 3) float32 in [0, 1]: fur, size, ears
    species: Tensor  # (N,) int64 index into SPECIES


def cats(n: int, seed: int = 0) -> Cats:
    """Draw n cats with uniformly random knobs and species.

    Returns images (n, 784), knobs (n, 3) and species (n,), on the CPU; the same seed
    gives the same bytes. Raises TypeError unless n and seed are ints, and ValueError
    if n < 1.
    """
    for name, value in (("n", n), ("seed", seed)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int, got {value!r}; pass e.g. 1000")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}; ask for one cat or more")
    generator = torch.Generator().manual_seed(seed)
    knobs = torch.rand(n, 3, generator=generator, dtype=torch.float32)
    species = torch.randint(len(SPECIES), (n,), generator=generator)
    return Cats(draw_cats(*knobs.unbind(1), species), knobs, species)


@torch.no_grad()
def draw_cats(fur, size, ears, species) -> Tensor:
    """Draw the cats that four knobs describe, light on black like MNIST.

    fur (0 pale, 1 dark), size (0 small, 1 fills the frame) and ears (0 short and
    round, 1 long and pointed) are floats in [0, 1]; species is an index into SPECIES.
    Each has shape (N,), or is a scalar that serves every cat. Returns (N, 784) float32
    in [0, 1] on the CPU. Raises TypeError for non-numbers and for a species that is
    not an integer, ValueError for values out of range and lengths that differ.
    """
    knobs, species = check_knobs(fur, size, ears, species)
    rows, halves = [], []
    for index, draw_species in enumerate((draw_house_cat, draw_tiger, draw_lion)):
        for chunk in (species == index).nonzero()[:, 0].split(CAT_CHUNK):
            rows.append(chunk)
            halves.append(draw_halves(draw_species, knobs[chunk]))  # (chunk, 28, 14)
    right = torch.cat(halves)[torch.cat(rows).argsort()]  # back in the order asked
    # A face is its own mirror image, so only its right half was drawn.
    return torch.cat([right.flip(2), right], 2).flatten(1)  # (N, 784)


def check_knobs(fur, size, ears, species):
    knobs = {"fur": fur, "size": size, "ears": ears}
    knobs = {name: vector(name, knob, torch.float32) for name, knob in knobs.items()}
    species = vector("species", species)
    for name, knob in knobs.items():
        if not ((knob >= 0) & (knob <= 1)).all():  # NaN fails both comparisons
            raise ValueError(f"{name} must lie in [0, 1], without NaN; clamp it first")
    if species.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
        raise TypeError(f"species has dtype {species.dtype}; make it torch.int64")
    if ((species < 0) | (species >= len(SPECIES))).any():
        raise ValueError(f"species must be 0, 1 or 2, an index into {SPECIES}")
    lengths = {len(values) for values in (*knobs.values(), species)} - {1}
    if len(lengths) > 1:
        raise ValueError(f"knobs have lengths {lengths}; give all the same, or scalars")
    *knobs, species = torch.broadcast_tensors(*knobs.values(), species)
    return torch.stack(knobs, 1), species  # (N, 3), (N,)


def vector(name, values, dtype=None):
    try:
        values = torch.as_tensor(values, dtype=dtype, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be numbers; pass a tensor (N,)") from error
    if values.ndim > 1:
        shape = tuple(values.shape)
        raise ValueError(f"{name} has shape {shape}; pass a scalar or shape (N,)")
    return values.reshape(-1)


def draw_halves(draw_species, knobs):
    fur, size, ears = knobs[:, :, None, None].unbind(1)  # (N, 1, 1) each
    scale = 0.6 + 0.4 * size
    x, y = half_frame()  # (28, 14) each
    # A cat measures itself in its own units, which are pixels at full size.
    grid = (x / scale, y / scale, scale)  # (N, 28, 14), (N, 28, 14), (N, 1, 1)
    coat = 0.92 - 0.48 * fur
    return draw_species(torch.zeros_like(grid[0]), grid, ears, coat)


def half_frame():
    pixels = torch.arange(CAT_SIDE, dtype=torch.float32) + 0.5
    x, y = pixels[: CAT_SIDE // 2], pixels - CAT_CENTRE
    return torch.meshgrid(x, y, indexing="xy")  # (28, 14) each; y points down


def paint(canvas, coverage, shade):
    return canvas + coverage * (shade - canvas)


def cover(distance):
    # Signed distance to an edge in pixels, to the part of a pixel inside that edge.
    return (0.5 - distance).clamp(0, 1)


def ellipse(grid, centre, radii, bumps=0.0):
    x, y, scale = grid
    u, v = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    distance = (torch.hypot(u, v) - 1) * min(radii)
    return cover(scale * (distance - bumps))


def stroke(grid, start, end, radii):
    # A brush stroke whose radius changes steadily from its start to its end.
    x, y, scale = grid
    dx, dy = end[0] - start[0], end[1] - start[1]
    u, v = x - start[0], y - start[1]
    along = ((u * dx + v * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    u, v = u - along * dx, v - along * dy
    radius = radii[0] + along * (radii[1] - radii[0])
    return cover(scale * (torch.hypot(u, v) - radius))


def draw_house_cat(canvas, grid, ears, coat):
    canvas = draw_ears(canvas, grid, (6.3, -5.0), ears, coat)
    canvas = paint(canvas, ellipse(grid, (0, 0.8), (10.6, 9.2)), coat)
    canvas = draw_features(canvas, grid, (4.9, -0.6), (3.3, 2.8), coat)
    for start, end in (((5.5, 4.4), (13.4, 2.4)), ((5.5, 5.8), (13.4, 6.6))):
        canvas = paint(canvas, stroke(grid, start, end, (0.3, 0.3)), 1.0)
    return canvas


def draw_tiger(canvas, grid, ears, coat):
    canvas = draw_ears(canvas, grid, (7.0, -5.3), ears, coat)
    canvas = paint(canvas, ellipse(grid, (0, 0.3), (11.2, 9.8)), coat)
    canvas = paint(canvas, ellipse(grid, (6.8, 4.6), (5.0, 4.3)), coat)
    stripes = (
        ((0, -8.2), (0, -3.2), (1.1, 0.5)),
        ((4.0, -8.2), (3.0, -4.6), (0.9, 0.3)),
        ((10.8, -2.8), (8.2, -2.2), (1.0, 0.2)),
        ((11.0, 1.2), (7.6, 1.5), (1.1, 0.2)),
        ((11.0, 5.2), (7.0, 4.6), (1.1, 0.2)),
    )
    for start, end, radii in stripes:
        canvas = paint(canvas, stroke(grid, start, end, radii), 0.05)
    return draw_features(canvas, grid, (4.6, -0.6), (3.6, 3.2), coat)


def draw_lion(canvas, grid, ears, coat):
    # The angle about the middle of the face is the same at every scale.
    tufts = torch.cos(16 * torch.atan2(*half_frame()))  # (28, 14)
    mane = ellipse(grid, (0, -0.4), (12.6, 10.8), bumps=0.6 * tufts)
    canvas = paint(canvas, mane, (0.05 + 0.38 * coat) * (1 + 0.3 * tufts))
    canvas = draw_ears(canvas, grid, (5.6, -5.4), ears, coat)
    canvas = paint(canvas, ellipse(grid, (0, 0.4), (7.6, 7.9)), coat)
    return draw_features(canvas, grid, (3.8, -0.8), (3.2, 2.8), coat)


def draw_ears(canvas, grid, root, ears, coat):
    # Longer ears are wider, lean outwards a little and end in a sharper point.
    x, y = root[0] + 0.6 + 1.9 * ears, root[1] - 1.6 - 9.6 * ears
    base, point = 3.0 + 1.4 * ears, 2.4 - 2.0 * ears
    canvas = paint(canvas, stroke(grid, root, (x, y), (base, point)), coat)
    inside = stroke(grid, root, (x, y + 1.2), (0.55 * base, 0.4 * point))
    return paint(canvas, inside, 0.5 * coat)


def draw_features(canvas, grid, eye, muzzle, coat):
    glint = (eye[0] + 0.1, eye[1] - 0.7)
    layers = (
        (ellipse(grid, (2.2, 5.2), muzzle), 0.75 + 0.25 * coat),
        (ellipse(grid, eye, (2.1, 2.6)), 0.0),
        (ellipse(grid, glint, (0.8, 0.8)), 1.0),
        (stroke(grid, (0, 2.9), (0, 4.2), (1.7, 0.4)), 0.0),  # nose
        (stroke(grid, (0, 4.2), (0, 6.8), (0.4, 0.4)), 0.1),
        (stroke(grid, (0, 7.0), (2.9, 6.0), (0.5, 0.3)), 0.1),  # mouth
    )
    for coverage, shade in layers:
        canvas = paint(canvas, coverage, shade)
    return canvas
