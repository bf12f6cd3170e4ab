"""A sample of what a model says in the midst of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import mlx.core as mx

from lora_nb.config import GenerateConfig, TrainConfig
from lora_nb.core.generate import generate
from lora_nb.core.load import Loaded, load_base
from lora_nb.core.trees import flat
from lora_nb.errors import LoraError
from lora_nb.runs.control import NO_SAMPLE, SAMPLE_TOKENS, Request
from lora_nb.runs.events import Progress, Sample
from lora_nb.worker.model import make_tunable
from lora_nb.worker.prepare import Ready
from lora_nb.worker.session import Session

__all__ = ["Sampler"]


@dataclass(frozen=True)
class Sampler:
    """Answers `sample` requests of a training. `has_all_blocks` tells whether its model is whole.

    Greedy, so that two samples differ by the training alone. The training's random numbers follow
    from seed and step, so a sample does not change them.
    """

    session: Session
    config: TrainConfig
    ready: Ready
    loaded: Loaded
    has_all_blocks: Callable[[], bool]

    def __call__(self, step: int, request: Request) -> None:
        """Generate and tell; what goes wrong here is a warning, the training goes on."""
        prompt = str(request.values["prompt"])
        wanted = int(request.values.get("max_tokens", SAMPLE_TOKENS))
        self.session.emit(Progress(stage="generating", done=0, total=wanted))
        try:
            text = self._text(prompt, wanted, step)
        except (LoraError, MemoryError, RuntimeError, ValueError) as problem:
            self.session.warn(f"{NO_SAMPLE}{problem}")
            return
        self.session.emit(Sample(step=step, prompt=prompt, text=text))

    def _text(self, prompt: str, wanted: int, step: int) -> str:
        loaded = self.loaded if self.has_all_blocks() else self._again()
        config = GenerateConfig(
            model=self.config.model, prompt=prompt, max_tokens=wanted, temp=0.0, seed=0
        )
        loaded.model.eval()
        try:
            pieces = generate(loaded.model, self.ready.tokenizer, config, self.ready.template)
            # A stop doesn't wait for the end of a long answer.
            going_on = takewhile(lambda _: not self.session.stop_wanted(step, pause="pass"), pieces)
            return "".join(piece.text for piece in going_on)
        finally:
            self.loaded.model.train()
            mx.clear_cache()

    def _again(self) -> Loaded:
        """The whole model once more: of this training's own the frozen blocks were let go."""
        again = load_base(self.ready.model_path, self.config)
        make_tunable(again, self.config, self.ready, anew=False)
        again.model.load_weights(
            list(flat(self.loaded.model.trainable_parameters()).items()), strict=False
        )
        return again
