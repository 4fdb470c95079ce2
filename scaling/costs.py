"""What a model costs, by arithmetic: tokens, parameters, FLOPs. No torch.

The FLOP convention, here and everywhere in this project: forward pass, one image, 2 FLOPs a multiply-add; matrix
products, convolutions and the scan are counted, element-wise work (norms, activations, softmax, residuals) is not.
A training step is three forward passes. The scan is counted as its recurrence, three multiply-adds for each channel,
state and token (decay, input, read-out), whatever the implementation does in chunks.

Letters: L patches, T = L + 1 with the class token, D width, M hidden width of the MLP, I = 2 D inner width of the
Mamba-2 mixer, H heads of the scan, N state, K classes, p patch [px].
Sources: Table 7 of arXiv 2502.03738; Adventurer is arXiv 2410.07599.
"""

from scaling.recipe import Recipe, check_patch
from scaling.sizes import SIZES, Size

IMAGENET_IMAGES = 1_281_167  # ImageNet-1k's training images
# Dense bf16 matrix rates of cards [FLOPs/s], from NVIDIA's data sheets (the halves of those "with sparsity"), by a word
# of the name that torch gives.
CARDS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L40S": 362e12, "4090": 165.2e12}
CONV = 4  # taps of Mamba-2's depth-wise convolution
PYRAMID = (4, 8, 16, 32)  # strides of the maps that UperNet sees [px]
POOLED = (1, 2, 3, 6)  # sides of its pooled maps
STAGES, PROPOSALS, DETECTIONS = 3, 1000, 100  # of Cascade Mask R-CNN: most of an image
EXPAND = 2  # inner width over width


def tokens(image: int, patch: int) -> int:
    """Patches of an image [tokens], class token not counted. image, patch: sides [px]; patch divides image."""
    check_patch(image, patch)
    return (image // patch) ** 2


def parameters(backbone: str, image: int, patch: int, classes: int) -> int:
    """Learned numbers of a classifier, learned position embedding included [1]. backbone: a name of SIZES."""
    size = SIZES[backbone]
    positions = (tokens(image, patch) + 1) * size.width + size.width  # and the class token itself
    embed = 3 * patch * patch * size.width + size.width
    head = size.width * classes + classes
    return positions + embed + head + size.depth * _block_parameters(size) + _final_norm(size)


def flops(backbone: str, image: int, patch: int, classes: int) -> int:
    """FLOPs of one image's forward pass through a classifier, by this module's convention. backbone: as above."""
    size = SIZES[backbone]
    length = tokens(image, patch)
    return _backbone_flops(size, patch, length) + 2 * size.width * classes


def _backbone_flops(size: Size, patch: int, length: int) -> int:
    """Of a sequence of length patches of patch px."""
    return 2 * 3 * patch * patch * size.width * length + size.depth * _block_flops(size, length)


def vit_flops(image: int, patch: int, width: int, depth: int, classes: int) -> int:
    """FLOPs of one image's forward pass through a plain ViT (MLP of 4 x width). image, patch [px]."""
    length = tokens(image, patch)
    size = Size("deit", width, depth, 4 * width, 64)
    return 2 * 3 * patch * patch * width * length + 2 * width * classes + depth * _block_flops(size, length)


def recipe_flops(recipe: Recipe) -> int:
    """FLOPs of one image's forward pass, head included, by this module's convention; in segmentation of one crop. 0:
    not known, for timm's backbones."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return 0
    if recipe.task == "classify":
        return flops(recipe.backbone, recipe.image, recipe.patch, recipe.classes)
    if recipe.task == "detect":
        sides = detected(recipe)
        head = cascade_flops(size.width, sides, recipe.patch, recipe.classes, recipe.head_channels)
        return _backbone_flops(size, recipe.patch, recipe_tokens(recipe)) + head
    backbone = flops(recipe.backbone, recipe.image, recipe.patch, 0)
    if recipe.head == "upernet":
        return backbone + upernet_flops(size.width, recipe.image, recipe.patch, recipe.classes, recipe.head_channels)
    return backbone + 2 * size.width * recipe.classes * tokens(recipe.image, recipe.patch)


def upernet_flops(width: int, image: int, patch: int, classes: int, channels: int) -> int:
    """FLOPs of the pyramid at strides 4 to 32 and of UperNet (arXiv 1807.10221, scaling/heads/segmentation.py) on an
    image. width: of the backbone's maps; channels: the head's; image, patch [px]."""
    at = [(-(-image // stride)) ** 2 for stride in PYRAMID]  # places of each map
    total = _doublings(width, tokens(image, patch), patch)
    pooled = sum(scale**2 for scale in POOLED)
    total += 2 * width * channels * (pooled + sum(at[:-1]))  # pooled branches, laterals
    total += 2 * 9 * (width + len(POOLED) * channels) * channels * at[-1]  # what joins the pooled branches
    total += 2 * 9 * channels * channels * sum(at[:-1])  # a convolution a level
    total += 2 * 9 * len(PYRAMID) * channels * channels * at[0]  # what joins the levels
    return total + 2 * channels * classes * at[0]


def cascade_flops(width: int, sides: tuple[int, int], patch: int, classes: int, channels: int) -> int:
    """FLOPs of Cascade Mask R-CNN (scaling/heads/detection.py) in detecting, on an image of these sides [px], with
    1,000 proposals and 100 detections, the most there are. width: of the backbone's map; channels: the head's."""
    at = [-(-sides[0] // stride) * -(-sides[1] // stride) for stride in (*PYRAMID, 2 * PYRAMID[-1])]
    c, hidden = channels, 4 * channels
    total = _doublings(width, (sides[0] // patch) * (sides[1] // patch), patch)
    total += 2 * (width * c + 9 * c * c) * sum(at[:-1])  # the neck
    total += 2 * (9 * c * c + 3 * 5 * c) * sum(at)  # proposals: three anchors of a score and four numbers
    box = 49 * c * hidden + hidden * hidden + hidden * (classes + 1 + 4)
    mask = 14 * 14 * (4 * 9 * c * c) + 14 * 14 * 4 * c * c + 28 * 28 * c * classes
    return total + 2 * STAGES * (PROPOSALS * box + DETECTIONS * mask)


def _doublings(width: int, places: int, patch: int) -> int:
    """FLOPs of the transposed convolutions of kernel 2 that bring a map to the strides of PYRAMID."""
    total = 0
    for stride in PYRAMID:
        now, side = places, patch
        while side >= 2 * stride:
            total += 2 * 4 * width * width * now
            now, side = 4 * now, side // 2
    return total


def detected(recipe: Recipe) -> tuple[int, int]:
    """Height and width of the training images of a detection recipe [px], multiples of the patch. Photographs are taken
    for 4:3, as most of COCO's are; crops and the embedded set's images are square."""
    whole = recipe.short_side and recipe.augment != "jitter_crop"
    short = recipe.short_side if whole else recipe.image
    long = min(4 * short // 3, recipe.long_side or 4 * short // 3) if whole else short
    return -(-short // recipe.patch) * recipe.patch, -(-long // recipe.patch) * recipe.patch


def recipe_tokens(recipe: Recipe) -> int:
    """Patches of an image of a recipe; in detection of one as `detected` takes them."""
    if recipe.task != "detect":
        return tokens(recipe.image, recipe.patch)
    height, width = detected(recipe)
    return (height // recipe.patch) * (width // recipe.patch)


def recipe_training_flops(recipe: Recipe, train_images: int) -> float:
    """FLOPs of a whole training run: three forward passes an image, train_images an epoch. Evaluation left out."""
    images = recipe.steps * recipe.batch or train_images * recipe.epochs
    return 3.0 * recipe_flops(recipe) * images


def activation_bytes(recipe: Recipe, recompute: bool = False) -> int:
    """About what a training step keeps for an image until its gradient comes [bytes], in float32, to plan with.

    Counted in numbers of a token's width that a block keeps: 20 in DeiT (arXiv 2205.05198, section 4.1, attention
    recomputed), 24 in Adventurer. recompute: one a block, and two and a half blocks whole. Measured on a CPU at 64 px,
    patch 4 (2026-11-21), MiB an image: deit_tiny 41.6 (this says 45.2), adventurer_tiny 67.5 (72.3); recomputing 12.6
    (11.7) and 14.0 (18.1). 0: not known, for timm's backbones.

    Segmentation adds the logits at the label's size, three times: themselves, their logarithms and a gradient."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return 0
    token = 4 * (recipe_tokens(recipe) + 1) * size.width
    block = (24 if size.family == "adventurer" else 20) * token
    kept = size.depth * token + 5 * block // 2 if recompute else size.depth * block
    return kept + (3 * 4 * recipe.classes * recipe.image**2 if recipe.task == "segment" else 0)


def peak_flops(card: str) -> float:
    """Datasheet rate of a card [FLOPs/s]; 0 where the name is not known."""
    return next((rate for word, rate in CARDS.items() if word in card), 0.0)


def _block_parameters(size: Size) -> int:
    d, m = size.width, size.mlp
    if size.family == "adventurer":
        inner = EXPAND * d
        heads = inner // size.head_dim
        mixer = d * (2 * inner + 2 * size.state + heads)  # in_proj: z, x, B, C, dt
        mixer += (CONV + 1) * (inner + 2 * size.state)  # depth-wise convolution of x, B, C, with bias
        mixer += 3 * heads + inner + inner * d  # A, D, dt bias; gated norm; out_proj
        return mixer + 3 * d * m + 2 * m + d + 2 * d  # SwiGLU with biases, two RMSNorms
    layer_scale = 2 * d if size.family == "deit3" else 0
    return 4 * d * d + 4 * d + 2 * d * m + m + d + 4 * d + layer_scale  # attention, MLP, two LayerNorms


def _final_norm(size: Size) -> int:
    if size.family == "deit3":
        return 2 * size.width - size.width  # the class token has no position there
    return size.width if size.family == "adventurer" else 2 * size.width


def _block_flops(size: Size, length: int) -> int:
    d, m = size.width, size.mlp
    if size.family == "adventurer":
        t = length + 2  # the class token and the heading average
        inner = EXPAND * d
        projections = d * (2 * inner + 2 * size.state + inner // size.head_dim) + inner * d
        convolution = CONV * (inner + 2 * size.state)
        scan = 3 * inner * size.state
        return 2 * t * (projections + convolution + scan) + 2 * (length + 1) * 3 * d * m
    t = length + 1
    return 2 * t * (4 * d * d + 2 * d * m) + 2 * 2 * t * t * d
