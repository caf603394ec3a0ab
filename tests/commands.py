"""What the tests of the command lines share."""

from __future__ import annotations

import pytest

from bench import compare
from bench.errors import UserError

SMOKE = ["--profile", "smoke", "--quiet", "--threads", "1", "--device", "cpu"]  # bytes of a GPU differ


def refused(arguments, capsys, *words) -> None:
    """Exit status 2 and one line of error, the last on stderr, that names each of `words`."""
    assert compare.main([*SMOKE, *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.startswith("bench.compare: ") for line in lines].count(True) == 1, lines
    assert lines[-1].startswith("bench.compare: ")
    for word in words:
        assert word in lines[-1]


def refusal(call, *arguments, **more):
    """The message, which is one line, of the UserError that the call raises."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **more)
    message = str(caught.value)
    assert message.isprintable()
    return message


OWN_MODEL = '''
from dataclasses import dataclass
import torch
from bench.contract.config import ModelConfig
from bench.contract.model import GenerativeModel
from bench.contract.priors import draw_uniform, mix_uniform

@dataclass(frozen=True)
class Config(ModelConfig):
    scale: float = 1.0

class Noise(GenerativeModel):
    """Uniform noise, scaled by one weight."""
    def __init__(self, image_shape, scale):
        super().__init__()
        self.image_shape = image_shape
        self.scale = torch.nn.Parameter(torch.tensor(scale))
    def sample_latents(self, n, generator):
        return draw_uniform(n, *self.image_shape, generator=generator)
    @torch.no_grad()
    def decode(self, latents):
        return (self.scale * latents).clamp(-1, 1)
    def mix_latents(self, a, b, t):
        return mix_uniform(a, b, t)
    def reconstruct(self, images, budget, generator):
        return self.decode(images)

class NoiseTrainer:
    Config = Config
    def __init__(self, config, image_shape, *, generator, device):
        self.config = config
        self.model = Noise(image_shape, config.scale).to(device)
        self.networks = (self.model,)
    def step(self, images, generator):
        return {"loss": float(images.square().mean())}
    def state_dict(self):
        return {"model": self.model.state_dict()}
    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
'''
