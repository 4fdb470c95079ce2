"""What autograd keeps of heads and losses, by arithmetic. Letters and convention as in heads.py and
activations.py: each term names the tensor and the operation that keeps it.
"""

from scaling.costs.activations import FLOAT
from scaling.costs.heads import ANCHORS, BOX, MASK, POOLED, PYRAMID, STAGES, num_upsamples
from scaling.costs.token_counts import recipe_sides, recipe_tokens
from scaling.model_specs import Size
from scaling.recipe import Recipe

PAIRED = 24  # numbers an anchor that losses of proposals keep, counted
SAMPLES = 512  # most regions of an image that detection learns from; a quarter of them have masks


def head_bytes(recipe: Recipe, size: Size, number: int) -> int:
    """What a head keeps of an image, loss included, but for the stream that the backbone's last norm sees [bytes]."""
    t, d = recipe_tokens(recipe) + 1, size.width
    if recipe.task == "classify":
        return FLOAT * t * d if number == FLOAT else 0  # the last norm's output, whole; in bf16 a copy of one token
    if recipe.task == "detect":
        samples = detection_samples(recipe)
        return cascade_bytes(recipe, size, samples, samples // 4)
    labels = recipe.image**2 * (FLOAT * recipe.classes + 8)  # logarithms of probabilities; labels as int64
    if recipe.head == "upernet":
        return labels + _upernet_bytes(recipe, size, number)
    return labels + number * (t - 1) * d  # the map, the layer's input


def loss_bytes(recipe: Recipe) -> int:
    """What the gradient of the loss has beside, at its peak, of an image [bytes]."""
    if recipe.task == "segment":
        return 2 * FLOAT * recipe.classes * recipe.image**2  # of the logarithms and of the logits
    return 0


def detection_samples(recipe: Recipe) -> int:
    """Regions of an image that detection learns from, as scaling/tasks/detection.py chooses [1]."""
    return min(SAMPLES, recipe.image if recipe.augment == "jitter_crop" else recipe.short_side or recipe.image)


def _pyramid_bytes(recipe: Recipe, size: Size, number: int, blocks: list[int]) -> int:
    """Maps at the strides of PYRAMID, which come after these blocks, and what is between [bytes]."""
    (height, width), d, patch = recipe_sides(recipe), size.width, recipe.patch
    places, seen, total = (height // patch) * (width // patch), set(), 0
    for stride, block in zip(PYRAMID, blocks, strict=True):
        times = num_upsamples(patch, stride)
        if times or patch <= stride:
            seen.add(block)  # the backbone's map: input of a transposed convolution, of pooling, or of what follows
        for n in range(1, times):  # between two: the convolution's output, the norm's, GELU's
            total += (2 * FLOAT + number) * 4**n * places * d + 2 * FLOAT * 4**n * places
        if patch != stride:  # else the map itself
            total += number * -(-height // stride) * -(-width // stride) * d  # the input of the next convolution
    return total + number * len(seen) * places * d


def _upernet_bytes(recipe: Recipe, size: Size, number: int) -> int:
    d, c = size.width, recipe.head_channels
    blocks = [-(-size.depth * n // len(PYRAMID)) for n in range(1, len(PYRAMID) + 1)]
    total = _pyramid_bytes(recipe, size, number, blocks)
    at = [(-(-recipe.image // stride)) ** 2 for stride in PYRAMID]  # places of each map
    total += 2 * FLOAT * (recipe_tokens(recipe) + 1) * len(set(blocks))  # the last norm's statistics, on every map
    convolved = 2 * FLOAT * c  # a convolution's output, which the norm sees; ReLU's
    total += sum(at[:-1]) * (2 * convolved + number * c)  # laterals, their sums, the convolutions on them
    pooled = sum(scale**2 for scale in POOLED)
    total += pooled * (number * d + convolved)  # pooled maps
    total += at[-1] * (number * (d + len(POOLED) * c) + convolved)  # joined
    total += at[0] * (number * len(PYRAMID) * c + convolved)  # all levels joined
    return total + (number * at[0] * c if number < FLOAT else 0)  # the last layer's input: in bf16 a copy


def cascade_bytes(recipe: Recipe, size: Size, boxes: int, masks: int) -> int:
    """What Cascade Mask R-CNN keeps of an image with so many samples a stage, so many of them with masks [bytes]. All
    of it is float32."""
    (height, width), c = recipe_sides(recipe), recipe.head_channels
    at = [-(-height // stride) * -(-width // stride) for stride in (*PYRAMID, 2 * PYRAMID[-1])]
    total = _pyramid_bytes(recipe, size, FLOAT, [size.depth] * len(PYRAMID))
    total += FLOAT * sum(at[:-1]) * (4 * c + 4)  # the neck: two convolutions' outputs, two norms', and their statistics
    total += FLOAT * at[-1] * c  # its last map
    total += FLOAT * sum(at) * (c + ANCHORS * PAIRED)  # proposals: ReLU's output; scores, boxes and their losses
    box = BOX**2 * c + 2 * 4 * c  # what is cut out, two hidden layers
    mask = 5 * MASK**2 * c + (2 * MASK) ** 2 * (c + 2)  # cut out, convolved four times, enlarged; logits, truth
    return total + FLOAT * STAGES * (boxes * box + masks * mask)
