"""Scale of the activations after the patch embedding, at which the residual stream begins: the root of the mean square
over patches and channels. A model of several patch sizes whose scale follows the patch gives its blocks another input
at each."""

import math
from typing import cast

import lightning as L
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scaling.engine.callbacks.instrument import Instrument
from scaling.engine.callbacks.step import RunState
from scaling.engine.distributed import over_devices
from scaling.tasks.base import TaskModule

SCALE = "embedding_rms"


class EmbeddingScale(Instrument):
    """Column embedding_rms: of the patches' tokens before positions are added, over all images of the steps that were
    read since the last row [1]. Not known for backbones without a patch_embed, and for compiled ones, which a hook
    would compile again."""

    columns = (SCALE,)

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._hook: RemovableHandle | None = None  # within a step that is read
        self._squares: list[Tensor | float] = []  # mean squares of the micro-batches since the last row

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self._hook is not None or not self.state.read:
            return
        backbone = cast(TaskModule, pl_module).backbone
        embedding = getattr(backbone.checkpoint_module, "patch_embed", None)
        if isinstance(embedding, nn.Module) and backbone._compiled_call_impl is None:
            self._hook = embedding.register_forward_hook(self._see)

    def _see(self, module: nn.Module, arguments: object, output: Tensor | tuple[Tensor, object]) -> None:
        """Embeddings of this project give the layout too, those of timm tokens alone."""
        tokens = output if isinstance(output, Tensor) else output[0]
        self._squares.append(tokens.detach().float().square().mean())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self._hook is not None and self.state.step is not None:
            self._hook.remove()
            self._hook = None

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        squares, self._squares = [float(square) for square in self._squares], []
        if not squares:
            return {}
        return {SCALE: math.sqrt(over_devices(trainer, sum(squares) / len(squares), "mean"))}

    def state_dict(self) -> dict[str, object]:
        return {"squares": [float(square) for square in self._squares]}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._squares = [*cast(list[float], state_dict["squares"])]
