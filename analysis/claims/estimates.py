"""All estimates by the names that claims refer to them by; and, by the same names, those of studies of shapes that were
measured on CIFAR-10 too, which have verdicts of their own."""

from collections.abc import Callable

from analysis.claims import (
    adaptive_patches,
    costs_of_memory,
    costs_of_patches,
    crops,
    encodings_elsewhere,
    filters,
    finetuned_patches,
    flexible,
    formulas,
    gradients,
    images_by_patch,
    measured,
    norms,
    packing,
    patch_embeddings,
    position_laws,
    recommended_patches,
    schedules,
    stability,
    starts_and_teachers,
    transfer,
)
from analysis.claims.verdict import Estimate

ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    **costs_of_patches.ESTIMATES,
    **costs_of_memory.ESTIMATES,
    **formulas.ESTIMATES,
    **measured.ESTIMATES,
    **flexible.ESTIMATES,
    **starts_and_teachers.ESTIMATES,
    **stability.ESTIMATES,
    **packing.ESTIMATES,
    **schedules.ESTIMATES,
    **gradients.ESTIMATES,
    **norms.ESTIMATES,
    **crops.ESTIMATES,
    **finetuned_patches.ESTIMATES,
    **transfer.ESTIMATES,
    **position_laws.ESTIMATES,
    **encodings_elsewhere.ESTIMATES,
    **adaptive_patches.ESTIMATES,
    **patch_embeddings.ESTIMATES,
    **filters.ESTIMATES,
    **recommended_patches.ESTIMATES,
    **images_by_patch.ESTIMATES,
}

ON_CIFAR10: dict[str, Callable[[], list[Estimate]]] = {
    **packing.ON_CIFAR10,
    **finetuned_patches.ON_CIFAR10,
    **transfer.ON_CIFAR10,
    **position_laws.ON_CIFAR10,
    **encodings_elsewhere.ON_CIFAR10,
    **adaptive_patches.ON_CIFAR10,
    **patch_embeddings.ON_CIFAR10,
    **recommended_patches.ON_CIFAR10,
}
