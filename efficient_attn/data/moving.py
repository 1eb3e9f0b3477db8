"""Images moved a little and mirrored at random, for a classifier that is to know them all the same.

Reference:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, section 3.1: of CIFAR-10 a crop of the
  image or its mirror, reflected by 4 pixels at its borders.
"""

import dataclasses

import numpy as np
from jaxtyping import Int32

from efficient_attn.data.batches import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moving:
    """How far images are moved, and whether they are mirrored.

    Raises:
        ValueError: The distance is negative.
    """

    distance: int = 4
    """The most pixels, down and across, that an image is moved by; what enters is its reflection at the border."""
    mirrored: bool = True
    """Whether every second image, by chance, is exchanged left for right."""

    def __post_init__(self):
        if self.distance < 0:
            raise ValueError(f"distance must be at least 0 pixels, got {self.distance}")


def moved(batch: Batch, moving: Moving, shape: tuple[int, ...], seed: tuple[int, ...], first: int) -> Batch:
    """A batch whose ``tokens`` int32 [B, T] are moved; a function of the seed and of each row's place alone.

    Args:
        batch: The images, and whatever else, which is kept.
        moving: By how much.
        shape: Of the tokens of an image; see ``LabelledImages``.
        seed: The first parts of the seed of every row.
        first: Place of the first row among all that have this seed.

    Raises:
        ValueError: Images are not more than the distance high and wide.
    """
    if moving.distance >= min(shape[:2]):
        raise ValueError(f"images of {shape[0]} x {shape[1]} pixels cannot be moved by distance={moving.distance}")
    images = batch["tokens"].reshape(-1, *shape)
    rows = [_moved(image, moving, np.random.default_rng((*seed, first + n))) for n, image in enumerate(images)]
    return {**batch, "tokens": np.stack(rows).reshape(batch["tokens"].shape)}


def _moved(image: Int32[np.ndarray, "H W *C"], moving: Moving, rng: np.random.Generator) -> Int32[np.ndarray, "H W *C"]:
    down, across = rng.integers(2 * moving.distance + 1, size=2)
    image = image[:, ::-1] if moving.mirrored and rng.random() < 0.5 else image
    edge = (moving.distance, moving.distance)
    larger = np.pad(image, (edge, edge, *((0, 0),) * (image.ndim - 2)), mode="reflect")
    return larger[down : down + image.shape[0], across : across + image.shape[1]]
