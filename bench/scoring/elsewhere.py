"""Images that no model of the suite made: a folder of them, an array file, or a generator that makes them now."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.config.settings import Sections
from bench.contract import plugins
from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import in_blocks, seeded
from bench.data.arrays import open_array
from bench.data.folder import SOURCE
from bench.data.source import Pool
from bench.errors import NotFiniteError, UserError
from bench.evaluation import Evaluator
from bench.scoring.scores import Scores
from bench.scoring.setup import Setup

LATENTS = ("latent_shape", "z_dim", "latent_dim", "nz")  # attributes of a module that say what it is called with
FORMS = "give uint8 images, or float ones in [-1, 1], (n, 1 or 3, side, side)"


class Images:
    """Images that are there: all of a pool, or the first `wanted`. UserError where there are fewer."""

    def __init__(self, pool: Pool, source: Path, dataset: str, wanted: object):
        count = len(pool) if wanted is None else wanted
        if not isinstance(count, int) or count > len(pool):
            raise UserError(f"{source} holds {len(pool)} images: evaluation.samples={count!r} must be at most that")
        self.images, self.notes = pool.read(range(count))
        self.source, self.dataset, self.image_shape = source, dataset, tuple(self.images.shape[1:])
        self.settings: Sections = {"evaluation": {"samples": count}}
        self.makes = f"the images of {source} are"
        self.label = source.stem

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """One channel where all three are equal and the data set is grey: torchvision saves grey images as RGB."""
        images = self.images
        if images.shape[1] == 3 and image_shape[0] == 1 and bool((images == images[:, :1]).all()):
            self.images = images[:, :1].contiguous()
            self.image_shape = tuple(self.images.shape[1:])
            n = f"{len(images):,}"
            self.notes = (*self.notes, f"{n} of {n} images had three equal channels, of which one was taken")

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores:
        """The scores of samples alone."""
        found = evaluator.evaluate_images(lambda seed: self.images, seeds)
        return Scores(str(self.source), evaluator, seeds, *found, {"notes": list(self.notes)})


class Folder(Images):
    """The images of a folder."""

    def __init__(self, path: Path, dataset: str, wanted: object, *, side: int, progress: bool):
        super().__init__(SOURCE.open(path, side, progress), path, dataset, wanted)


class Array(Images):
    """The images of an `.npz` or `.npy` file, as `bench.data.arrays` reads them."""

    def __init__(self, path: Path, dataset: str, wanted: object):
        super().__init__(open_array(path), path, dataset, wanted)


class Generator:
    """`package.module:NAME`: a torch module, a function that makes one, or a callable that gives images.

    - a `GenerativeModel` is asked by its `sample(n, generator)`;
    - another module is called with standard normal latents (n, *shape), where `shape` is the first of its attributes
      `LATENTS` that it has, a number or several;
    - a callable is called as `NAME(n, generator)`, with a `torch.Generator` on the device; called with nothing, it may
      give a module instead.

    Images are uint8, or float in [-1, 1], (n, C, H, W). A seed of the evaluation decides them all: each block of 64
    has a generator of its own, and torch's global state, seeded likewise, is put back.
    """

    def __init__(self, target: str, dataset: str, setup: Setup):
        self.target, self.dataset, self.device = target, dataset, setup.device
        self.made = f"the generator {target}"
        found = plugins.load(target, "generator")
        if not isinstance(found, nn.Module) and callable(found) and (built := self._built(found)) is not None:
            found = built
        self.draw = self._draw(found)
        self.beyond = self.seen = 0  # numbers outside [-1, 1], and all
        self.image_shape = tuple(next(self._blocks(1, seed=0)).shape[1:])
        self.settings: Sections = {}
        self.makes = f"{self.made} makes"
        self.label = target.rpartition(":")[2]

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """A generator makes what it was trained on."""

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores:
        """The scores of samples alone."""
        n = evaluator.config.samples
        self.beyond = self.seen = 0
        found = evaluator.evaluate_images(lambda seed: torch.cat(list(self._blocks(n, seed))), seeds)
        notes = (
            [f"{self.beyond / self.seen:.2%} of the numbers were outside [-1, 1] and clamped"] if self.beyond else []
        )
        return Scores(self.target, evaluator, seeds, *found, {"notes": notes})

    def _built(self, function: Any) -> nn.Module | None:
        """The module that a class or function gives when it is called with nothing; None where it gives none."""
        if not isinstance(function, type) and _takes_two(function):
            return None
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                built = function()
        except Exception as error:  # a stranger's code fails in any way
            raise UserError(f"{self.made} failed when called with nothing ({plugins.described(error)})") from error
        if isinstance(built, nn.Module):
            return built
        raise UserError(f"{self.made} gives a {type(built).__name__}: give a module, or a callable (n, generator)")

    def _draw(self, found: Any) -> Callable[[int, torch.Generator], Any]:
        if not isinstance(found, nn.Module):
            if not callable(found):
                raise UserError(f"{self.made} is a {type(found).__name__}: give a module, or a callable (n, generator)")
            return found
        module = found.to(self.device).eval()
        if isinstance(module, GenerativeModel):
            return module.sample
        name = next((name for name in LATENTS if hasattr(module, name)), "")
        size = getattr(module, name, None)
        shape = [size] if isinstance(size, int) else list(size) if isinstance(size, tuple | list | torch.Size) else []
        if not shape or not all(isinstance(side, int) and side > 0 for side in shape):
            raise UserError(
                f"{self.made} does not say what it is called with: give it an attribute {', '.join(LATENTS)}, the "
                "shape of one latent, or name a callable (n, generator)"
            )
        device = self.device
        return lambda n, generator: module(torch.randn(n, *shape, generator=generator, device=device))

    def _blocks(self, n: int, seed: int) -> Iterator[Tensor]:
        """uint8 (block, C, H, W), on the CPU."""

        def block(count: int, generator: torch.Generator) -> Tensor:
            devices = [self.device] if self.device.type == "cuda" else []
            try:
                with torch.no_grad(), torch.random.fork_rng(devices):
                    torch.manual_seed(generator.initial_seed())  # for what draws from the global state
                    return self._checked(self.draw(count, generator), count)
            except UserError:
                raise
            except NotFiniteError as error:
                raise NotFiniteError(f"{self.made}: {error}") from None
            except Exception as error:
                raise UserError(f"{self.made} failed ({plugins.described(error)}): mend it") from error

        return in_blocks(block, n, seed, "sample", device=self.device)

    def _checked(self, images: Any, n: int) -> Tensor:
        """uint8 (n, C, H, W) on the CPU; UserError for another form, NotFiniteError for numbers that are not finite."""
        if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != n or images.shape[1] not in (1, 3):
            given = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise UserError(f"{self.made} gave {given} where {n} images were asked for: {FORMS}")
        if images.dtype == torch.uint8:
            return images.cpu()
        if not images.is_floating_point():
            raise UserError(f"{self.made} gave {images.dtype} images: {FORMS}")
        pixels = to_uint8(images.float())
        if images.min() >= 0 and images.max() > images.min():
            raise UserError(f"{self.made} gave no number below 0, as if black were 0 and white 1: {FORMS}")
        self.beyond += int((images.abs() > 1).sum())
        self.seen += images.numel()
        return pixels.cpu()


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a callable takes (n, generator) by position."""
    try:
        inspect.signature(function).bind(1, seeded("signature"))
    except (TypeError, ValueError):
        return False
    return True
