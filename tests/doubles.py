"""Runs in float64, where two ways to the same sum agree to 1e-12 at every step of a run, and no choice can fork.

In float32 they agree to 1e-7 at first. That decides which of two boxes that lie almost alike is kept, and AdamW's first
steps, which divide by what a gradient was, make the most of it: after a hundred steps 1e-3 and more are left of it, on
each machine another. So what is equal by construction is compared here."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch


@contextmanager
def doubled() -> Iterator[None]:
    """What torch makes of itself, and what asks for float(), is float64 inside; mmdet too, where it is imported."""
    single, default = torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        with _mmdet_doubled() if "mmdet" in sys.modules else nullcontext():
            yield
    finally:
        torch.Tensor.float = single
        torch.set_default_dtype(default)


def in_doubles() -> None:
    """From here on, in a process of its own."""
    FOREVER.enter_context(doubled())


FOREVER = ExitStack()


@contextmanager
def _mmdet_doubled() -> Iterator[None]:
    """Its anchors are float32 unless it is told; masks are float32 where it pastes them into images, so boxes too."""
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head
    from mmdet.models.task_modules.prior_generators import AnchorGenerator

    methods = (AnchorGenerator.grid_priors, AnchorGenerator.single_level_grid_priors)
    defaults, paste = [method.__defaults__ for method in methods], fcn_mask_head._do_paste_mask
    for method in methods:
        method.__defaults__ = (torch.float64, *method.__defaults__[1:])
    fcn_mask_head._do_paste_mask = lambda masks, boxes, *rest, **more: paste(
        masks, boxes.to(torch.float32), *rest, **more
    )
    try:
        yield
    finally:
        fcn_mask_head._do_paste_mask = paste
        for method, its in zip(methods, defaults, strict=True):
            method.__defaults__ = its
