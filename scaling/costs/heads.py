"""FLOPs and parameters of the heads of segmentation and detection, by arithmetic. Convention as in costs.py.

Letters: D width of the backbone's maps, C channels of the head, K classes.
Sources: UperNet is arXiv 1807.10221 (scaling/heads/segmentation.py), Cascade Mask R-CNN arXiv 1906.09756
(scaling/heads/cascade_config.py), the pyramid arXiv 2203.16527 (scaling/heads/feature_pyramid.py).
"""

PYRAMID = (4, 8, 16, 32)  # strides of the maps that UperNet sees, and detection but for a fifth [px]
POOLED = (1, 2, 3, 6)  # sides of UperNet's pooled maps
STAGES, PROPOSALS, DETECTIONS = 3, 1000, 100  # of Cascade Mask R-CNN: most of an image
ANCHORS = 3  # a place: a score and four numbers each
BOX, MASK = 7, 14  # sides of what is cut out for boxes and for masks, whose own are twice as large


def num_upsamples(patch: int, stride: int) -> int:
    """How often a map at the patch is doubled on its way to a stride, both [px]; 0 where it is as fine already."""
    return max((patch // stride).bit_length() - 1, 0)


def upernet_flops(width: int, image: int, patch: int, classes: int, channels: int) -> int:
    """FLOPs of the pyramid at strides 4 to 32 and of UperNet on an image. width: of the backbone's maps; channels: the
    head's; image, patch [px]."""
    at = [(-(-image // stride)) ** 2 for stride in PYRAMID]  # places of each map
    total = _doubling_flops(width, (image // patch) ** 2, patch)
    pooled = sum(scale**2 for scale in POOLED)
    total += 2 * width * channels * (pooled + sum(at[:-1]))  # pooled branches, laterals
    total += 2 * 9 * (width + len(POOLED) * channels) * channels * at[-1]  # what joins the pooled branches
    total += 2 * 9 * channels * channels * sum(at[:-1])  # a convolution a level
    total += 2 * 9 * len(PYRAMID) * channels * channels * at[0]  # what joins the levels
    return total + 2 * channels * classes * at[0]


def cascade_flops(width: int, sides: tuple[int, int], patch: int, classes: int, channels: int) -> int:
    """FLOPs of Cascade Mask R-CNN in detecting, on an image of these sides [px], with 1,000 proposals and 100
    detections, the most there are. width: of the backbone's map; channels: the head's."""
    at = [-(-sides[0] // stride) * -(-sides[1] // stride) for stride in (*PYRAMID, 2 * PYRAMID[-1])]
    c, hidden = channels, 4 * channels
    total = _doubling_flops(width, (sides[0] // patch) * (sides[1] // patch), patch)
    total += 2 * (width * c + 9 * c * c) * sum(at[:-1])  # the neck
    total += 2 * (9 * c * c + ANCHORS * 5 * c) * sum(at)  # proposals
    box = BOX**2 * c * hidden + hidden * hidden + hidden * (classes + 1 + 4)
    mask = MASK**2 * (4 * 9 * c * c) + MASK**2 * 4 * c * c + (2 * MASK) ** 2 * c * classes
    return total + 2 * STAGES * (PROPOSALS * box + DETECTIONS * mask)


def upernet_parameters(width: int, patch: int, classes: int, channels: int) -> int:
    """Learned numbers of the pyramid and of UperNet [1]."""
    c, levels = channels, len(PYRAMID) - 1
    total = _doubling_parameters(width, patch)
    total += (len(POOLED) + levels) * (width * c + 2 * c)  # pooled branches, laterals: no bias, a norm
    total += 9 * (width + len(POOLED) * c) * c + 2 * c  # what joins the pooled branches
    total += levels * (9 * c * c + 2 * c)  # a convolution a level
    total += 9 * len(PYRAMID) * c * c + 2 * c  # what joins the levels
    return total + c * classes + classes


def cascade_parameters(width: int, patch: int, classes: int, channels: int) -> int:
    """Learned numbers of the pyramid and of Cascade Mask R-CNN [1]."""
    c, hidden = channels, 4 * channels
    total = _doubling_parameters(width, patch)
    total += len(PYRAMID) * (width * c + 2 * c + 9 * c * c + 2 * c)  # the neck: no bias, a norm behind both
    total += 9 * c * c + c + ANCHORS * 5 * (c + 1)  # proposals
    box = BOX**2 * c * hidden + hidden + hidden * hidden + hidden + (hidden + 1) * (classes + 1 + 4)
    mask = 4 * (9 * c * c + c) + 4 * c * c + c + (c + 1) * classes
    return total + STAGES * (box + mask)


def _doubling_flops(width: int, places: int, patch: int) -> int:
    """Of the transposed convolutions of kernel 2 that bring a map of so many places to the strides of PYRAMID."""
    each = [2 * 4 * width * width * places * 4**n for n in range(num_upsamples(patch, PYRAMID[0]))]
    return sum(sum(each[: num_upsamples(patch, stride)]) for stride in PYRAMID)


def _doubling_parameters(width: int, patch: int) -> int:
    """Of the same, with bias, and the norms between two of them."""
    times = [num_upsamples(patch, stride) for stride in PYRAMID]
    return sum(n * (4 * width * width + width) + max(n - 1, 0) * 2 * width for n in times)
