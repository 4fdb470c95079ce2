"""Runs in float64, where two ways to the same sum agree to 1e-12 at every step of a run, and no choice can fork.

In float32 they agree to 1e-7 at first. That decides which of two boxes that lie almost alike is kept, and AdamW's first
steps, which divide by what a gradient was, make the most of it: after a hundred steps 1e-3 and more are left of it, on
each machine another. So what is equal by construction is compared here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def doubled() -> Iterator[None]:
    """What torch makes of itself, and what asks for float(), is float64 inside."""
    single, default = torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = single
        torch.set_default_dtype(default)


def in_doubles() -> None:
    """From here on, in a process of its own; mmdet too, where it is imported."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    if "mmdet" in sys.modules:
        _mmdet_in_doubles()


def _mmdet_in_doubles() -> None:
    """Its anchors are float32 unless it is told; masks are float32 where it pastes them into images, so boxes too."""
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head
    from mmdet.models.task_modules.prior_generators import AnchorGenerator

    for method in (AnchorGenerator.grid_priors, AnchorGenerator.single_level_grid_priors):
        method.__defaults__ = (torch.float64, *method.__defaults__[1:])
    paste = fcn_mask_head._do_paste_mask
    fcn_mask_head._do_paste_mask = lambda masks, boxes, *rest, **more: paste(
        masks, boxes.to(torch.float32), *rest, **more
    )
