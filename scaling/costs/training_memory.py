"""Training memory: activations saved for the backward pass, optimiser state, and the peak total.

Of packed images with drawn sizes, an image is one of the largest size: a micro-batch may hold many of these. Letters as
in scaling/costs/__init__.py. The memory of a model with a component that has no cost model is unknown: 0.
"""

from scaling.config.at_shape import largest_image
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.costs.base import FLOAT, MemoryPolicy, stream_bytes
from scaling.costs.whole_model import WholeModel, recipe_parameters, whole_model

# Fixed overhead of a process after its first step, even of one small image: code of kernels, threads, and memory that
# glibc does not give back. Measured on two CPU cores: 20 MiB where glibc gives all of it back (MALLOC_MMAP_THRESHOLD_),
# else 50 to 140, and 50 to 300 with gradient checkpointing.
PROGRAM = 64 * 2**20
SHARE = 0.8  # of the memory that is free, or that a model leaves, which a plan may fill [1]
DEFAULT = MemoryPolicy()


def activation_bytes(
    config: ExperimentConfig, policy: MemoryPolicy = DEFAULT, images: int = 0, shape: StepShape | None = None
) -> int:
    """Memory that a training step keeps of one image until its gradient is computed; with gradient checkpointing the
    most at a time: the input of every block, and one block whole [bytes].

    images: in a micro-batch, as Adventurer's mixer keeps more of small ones; 0: many. shape: of the image; None: of the
    largest one."""
    m = whole_model(config, shape or largest_image(config))
    return model_activation_bytes(m, policy, images) if m else 0


def model_activation_bytes(m: WholeModel, policy: MemoryPolicy = DEFAULT, images: int = 0) -> int:
    """activation_bytes of a model that need not be of a recipe."""
    return _kept(m, policy, images) + m.activations(policy, images).recomputed


def forward_bytes(config: ExperimentConfig, images: int, policy: MemoryPolicy = DEFAULT) -> int:
    """Estimate of what a forward pass without gradients holds of a batch at a time [bytes]: the images, the residual
    stream before and after a block, all that a block keeps in training, and the head. A block without gradients frees
    what it has used, so this is 1.3 to 1.7 times what torch holds on a CPU; in bf16-mixed 0.9 to 1.4 times."""
    if (m := whole_model(config)) is None:
        return 0
    block = m.activations(policy._replace(grad_checkpointing=True), images).recomputed
    head = m.head.activations(m.head_input, policy.number)
    return images * (_input(m, policy) + 2 * stream_bytes(m.spec, m.tokens) + block + head)


def step_bytes(
    config: ExperimentConfig, images: int, policy: MemoryPolicy = DEFAULT, teacher: ExperimentConfig | None = None
) -> int:
    """Peak of a training step of one micro-batch, gradients of activations included; without weights, their gradients
    and the optimiser state [bytes]. images: in the micro-batch. teacher: of distillation; it sees the images when the
    student's activations are all kept."""
    if (m := whole_model(config, largest_image(config))) is None:
        return 0
    blocks = m.activations(policy, images)
    at_loss = _kept(m, policy, images) + m.head.loss_backward(m.head_input)
    at_last_block = _input(m, policy) + blocks.kept + blocks.recomputed + blocks.backward
    weights = FLOAT * m.spec.width * m.spec.mlp  # gradient of a block's largest matrix, before it is accumulated
    if policy.number < FLOAT:  # autocast's copies of weights
        own = m.backbone.parameters(m.spec, m.tokens)["blocks"] // m.spec.depth
        weights += policy.number * (own if policy.grad_checkpointing else m.parameters.total)
    # The embedding's gradient before it is accumulated, which can be larger than all that blocks keep. Of several
    # kernels at most one is there at a time: an upper bound.
    at_embedding = images * (_input(m, policy) + stream_bytes(m.spec, m.tokens)) + FLOAT * m.parameters["embedding"]
    at_teacher = images * _kept(m, policy, images) + forward_bytes(teacher, images, policy) if teacher else 0
    position = m.position.step_bytes(m.position_input, policy)
    return max(images * at_loss, images * at_last_block + weights, at_embedding, at_teacher) + position


def optimiser_bytes(parameters: int, ema: bool = False) -> int:
    """Weights, gradients and the two moments of AdamW, in float32, and an average of the weights [bytes]."""
    return (5 if ema else 4) * FLOAT * parameters


def teacher_bytes(teacher: ExperimentConfig | None) -> int:
    """Weights of a teacher, which have no gradients, in float32 [bytes]."""
    return FLOAT * recipe_parameters(teacher) if teacher else 0


def memory_bytes(
    config: ExperimentConfig, images: int, policy: MemoryPolicy = DEFAULT, teacher: ExperimentConfig | None = None
) -> int:
    """Peak of all that training adds to a process on one device [bytes]: optimiser_bytes, step_bytes, the weights of a
    teacher, and PROGRAM. images: in a micro-batch. Where a step is one micro-batch, gradients of weights are made as
    activations are freed, and the larger of the two counts. 0: unknown."""
    parameters = recipe_parameters(config)
    if not parameters:
        return 0
    step = step_bytes(config, images, policy, teacher)
    if images >= config.optim.global_batch_size:
        step = max(step - FLOAT * parameters, 0)
    taught = teacher_bytes(teacher)
    return optimiser_bytes(parameters, config.optim.model_ema_decay is not None) + taught + step + PROGRAM


def _input(m: WholeModel, policy: MemoryPolicy) -> int:
    """The image as bytes, and as numbers for the gradient of the embedding's kernel; what the embedding keeps besides
    [bytes]."""
    embedding = m.embed.activations(m.embed_input, policy.number)
    return 3 * m.head_input.pixels * (1 + policy.number) + embedding


def _kept(m: WholeModel, policy: MemoryPolicy, images: int) -> int:
    """Kept of one image when the forward pass is done [bytes]."""
    blocks = m.activations(policy, images).kept
    head = m.head.activations(m.head_input, policy.number)
    return _input(m, policy) + blocks + stream_bytes(m.spec, m.tokens) + head
