"""One training step, on TensorFlow by a gradient tape and on JAX by a pure function; the same numbers on both.

batch -> forward -> losses -> gradients -> clip -> optimizer -> moving averages -> codebooks, statistics
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import ops

from codec.codebook import Averages
from codec.model import Codec
from codec.quantizer import Movement
from codec.streaming import Tensor
from codec.training import losses
from codec.training.recipe import Recipe

STATISTICS_DECAY = 0.99
SCALES_IN_TURN = ((0, 2, 4), (1, 3, 5))  # half of the log-mel windows at one step, the others at the next


class Arrays(NamedTuple):
    """What a step takes in."""

    audio: Any  # float32 [batch, time, 1]
    num_codebooks: Any  # int32 [batch]
    noise_start: Any  # int32 [batch]
    latent_noise: Any  # float32 [batch, frame, latent_dim], in the warm-up; [batch, 0, 0] after it


class Report(NamedTuple):
    """What a step tells."""

    mel: Any  # [], sum over the windows of this step
    complex: Any  # []
    commitment: Any  # []
    errors: Any  # [codebook], squared error of the latents after each stage
    gradient_norm: Any  # [], before clipping


class Moved(NamedTuple):
    """What moves outside the gradient after a step."""

    latents: Any  # [batch, frame, latent_dim]
    movement: Movement | None  # of the codebooks; none in the warm-up


class Trainee:
    """Everything that changes in training.

    The trained weights of the codec live in one long vector, `master`: one gradient, one optimizer step and one moving
    average instead of some hundred of each. `settle` copies it, or the average, back into the codec.

    Attributes:
        codec: the model; its trained weights are those of the last `settle`.
        master: float32 [weights].
        average: float32 [weights], the moving average: what ships.
        optimizer: knows one variable, the master.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.shapes = [tuple(weight.shape) for weight in codec.trainable_variables]
        length = (sum(math.prod(shape) for shape in self.shapes),)
        self.master = keras.Variable(np.zeros(length, np.float32), dtype="float32", name="master")
        self.average = keras.Variable(
            np.zeros(length, np.float32), trainable=False, dtype="float32", name="average"
        )
        self.optimizer = keras.optimizers.Adam(1e-3, beta_1=0.9, beta_2=0.99)
        self.optimizer.build([self.master])
        self.gather()

    def gather(self) -> None:
        """Take master and average from the codec's weights."""
        weights = [np.ravel(ops.convert_to_numpy(weight.value)) for weight in self.codec.trainable_variables]
        self.master.assign(np.concatenate(weights))
        self.average.assign(self.master.value)

    def settle(self, vector: keras.Variable) -> None:
        """Put `master` or `average` into the codec's weights."""
        for weight, value in zip(self.codec.trainable_variables, self.pieces(vector.value), strict=True):
            weight.assign(value)

    def pieces(self, vector: Tensor) -> list[Tensor]:
        """A vector of all trained weights as one tensor each, in the codec's order."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = ops.split(vector, [int(end) for end in ends[:-1]])
        return [ops.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def followers(self) -> list[keras.Variable]:
        """What moves outside the gradient: statistics, codebooks, the average."""
        return [*self.codec.non_trainable_variables, self.average]


class Stepper(Protocol):
    """A training step of one backend."""

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        """Take step `number`; afterwards `settle` is needed before variables are read."""

    def settle(self) -> None:
        """Put the present values into the trainee's variables."""

    def reload(self) -> None:
        """Take the trainee's variables as the present values."""


def forward(
    codec: Codec, recipe: Recipe, arrays: Arrays, scales: tuple[int, ...]
) -> tuple[Tensor, Report, Moved]:
    """Losses of one batch; with latent noise in the quantizer's place where the batch brings some."""
    count = ops.shape(arrays.audio)[0]
    latents, _ = codec.encoder.step(arrays.audio, codec.encoder.initial_state(count))
    if arrays.latent_noise.shape[1]:
        received, commitment, errors = (
            latents + arrays.latent_noise,
            0.0,
            ops.zeros((codec.config.num_codebooks,)),
        )
        movement = None
    else:
        received, commitment, errors, movement = codec.quantizer.quantize_latents(
            latents, arrays.num_codebooks
        )
    state = codec.decoder.initial_state(count, arrays.noise_start)
    decoded = codec.decoder.step(received, state)[0][:, codec.latency :, 0]
    reference, rate = arrays.audio[:, : -codec.latency, 0], codec.config.sample_rate
    share = len(losses.MEL_SECONDS) / len(scales)
    mel = share * ops.mean(losses.mel_distances(reference, decoded, rate, scales))
    cutoffs = losses.complex_cutoffs(arrays.num_codebooks, codec.config.num_codebooks)
    phase = ops.mean(losses.complex_distances(reference, decoded, rate, cutoffs))
    total = recipe.mel_weight * mel + recipe.complex_weight * phase + recipe.commitment_weight * commitment
    report = Report(mel, phase, ops.convert_to_tensor(commitment), errors, ops.zeros(()))
    return total, report, Moved(ops.stop_gradient(latents), movement)


def halves_of(arrays: Arrays) -> list[Arrays]:
    """A batch as two halves: two branches of one graph keep two cores busier than one."""
    half = len(arrays.audio) // 2
    parts = [Arrays(*(part[:half] for part in arrays)), Arrays(*(part[half:] for part in arrays))]
    return parts if half else parts[1:]


def losses_of(
    trainee: Trainee, recipe: Recipe, master: Tensor, parts: list[Arrays], scales: tuple[int, ...]
) -> tuple[Tensor, tuple[Report, Moved]]:
    """The mean loss of the parts of a batch as a function of the master vector; and what to report and to move."""
    mapping = list(zip(trainee.codec.trainable_variables, trainee.pieces(master), strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        outcomes = [forward(trainee.codec, recipe, part, scales) for part in parts]
    total = sum(outcome[0] for outcome in outcomes) / len(parts)
    reports = zip(*(outcome[1] for outcome in outcomes), strict=True)
    report = Report(*(sum(values) / len(parts) for values in reports))
    return total, (report, merge([outcome[2] for outcome in outcomes]))


def merge(parts: list[Moved]) -> Moved:
    """What the parts of a batch moved, as one."""
    latents = ops.concatenate([part.latents for part in parts])
    movements = [part.movement for part in parts if part.movement is not None]
    return Moved(latents, functools.reduce(_merge_movements, movements) if movements else None)


def _merge_movements(first: Movement, second: Movement) -> Movement:
    """Counts add up; candidates are the first's where it counted any row for a codebook."""
    counted = ops.sum(first.batch.counts, axis=-1) > 0
    batch = Averages(first.batch.counts + second.batch.counts, first.batch.sums + second.batch.sums)
    return Movement(batch, ops.where(counted[:, None, None], first.fresh, second.fresh))


def clip(gradient: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Scale a gradient to a norm of at most `limit`; also returns the norm before."""
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * ops.minimum(1.0, limit / (norm + 1e-12)), norm


def follow(trainee: Trainee, recipe: Recipe, master: Tensor, moved: Moved) -> None:
    """Everything that moves outside the gradient: average of the weights, statistics, codebooks."""
    count = ops.cast(trainee.optimizer.iterations, "float32")
    decay = ops.minimum(recipe.averaging, (1.0 + count) / (10.0 + count))
    trainee.average.assign(decay * trainee.average + (1.0 - decay) * master)
    trainee.codec.encoder.standardize.update(moved.latents, STATISTICS_DECAY)
    if moved.movement is not None:
        trainee.codec.quantizer.update(moved.movement)


class TensorFlowStepper:
    """A step by `tf.GradientTape`; variables are always up to date."""

    def __init__(self, trainee: Trainee, recipe: Recipe) -> None:
        import tensorflow as tf

        self.trainee, self.recipe, self.tape = trainee, recipe, tf.GradientTape
        self.graph = tf.function(self._step, autograph=False)

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        self.trainee.optimizer.learning_rate.assign(learning_rate)
        return self.graph(halves_of(arrays), SCALES_IN_TURN[number % len(SCALES_IN_TURN)])

    def settle(self) -> None:
        """Nothing to do."""

    reload = settle

    def _step(self, parts: list[Arrays], scales: tuple[int, ...]) -> Report:
        master = self.trainee.master
        with self.tape() as tape:
            total, (report, moved) = losses_of(self.trainee, self.recipe, master.value, parts, scales)
        gradient, norm = clip(tape.gradient(total, master.value), self.recipe.gradient_norm)
        self.trainee.optimizer.apply([gradient], [master])
        follow(self.trainee, self.recipe, ops.convert_to_tensor(master), moved)
        return report._replace(gradient_norm=norm)


class JaxStepper:
    """A step as one compiled function of all values; they stay on the device between steps."""

    def __init__(self, trainee: Trainee, recipe: Recipe) -> None:
        import jax

        self.trainee, self.recipe, self.jax = trainee, recipe, jax
        self.graph = jax.jit(self._step, static_argnames="scales", donate_argnums=(0, 1, 2))
        self.reload()

    def reload(self) -> None:
        copy = self.jax.numpy.array  # the step takes its arguments' memory; variables keep their own
        self.values = [[copy(variable.value) for variable in group] for group in self._groups()]

    def settle(self) -> None:
        for group, values in zip(self._groups(), self.values, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(self.jax.numpy.array(value))

    def step(self, arrays: Arrays, learning_rate: float, number: int) -> Report:
        scales = SCALES_IN_TURN[number % len(SCALES_IN_TURN)]
        *self.values, report = self.graph(*self.values, arrays, learning_rate, scales=scales)
        return report

    def _groups(self) -> tuple[list[keras.Variable], ...]:
        return [self.trainee.master], self.trainee.followers(), self.trainee.optimizer.variables

    def _step(
        self,
        masters: list,
        others: list,
        optimizer: list,
        arrays: Arrays,
        learning_rate: Any,
        scales: tuple[int, ...],
    ) -> tuple:
        followers, settings = self._groups()[1:]
        rate = next(
            i for i, variable in enumerate(settings) if variable is self.trainee.optimizer._learning_rate
        )
        optimizer = [*optimizer[:rate], ops.cast(learning_rate, "float32"), *optimizer[rate + 1 :]]
        mapping = list(zip(followers, others, strict=True))

        def loss(master: Any) -> tuple:
            with keras.StatelessScope(state_mapping=mapping):
                return losses_of(self.trainee, self.recipe, master, [arrays], scales)

        (_, (report, moved)), gradient = self.jax.value_and_grad(loss, has_aux=True)(masters[0])
        gradient, norm = clip(gradient, self.recipe.gradient_norm)
        masters, optimizer = self.trainee.optimizer.stateless_apply(optimizer, [gradient], masters)
        mapping += list(zip(settings, optimizer, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            follow(self.trainee, self.recipe, masters[0], moved)
        others = [scope.get_current_value(variable) for variable in followers]
        return masters, others, optimizer, report._replace(gradient_norm=norm)


def compute_policy(backend: str, device: str) -> str:
    """The precision to train in: bfloat16 arithmetic and float32 weights on a GPU under JAX, else all float32."""
    return "mixed_bfloat16" if (backend, device) == ("jax", "gpu") else "float32"


def present_policy() -> str:
    """`compute_policy` of the backend that Keras runs on and of the device it found."""
    if keras.backend.backend() != "jax":
        return "float32"
    import jax

    return compute_policy("jax", jax.default_backend())


def new_stepper(trainee: Trainee, recipe: Recipe) -> Stepper:
    """The step of the backend that Keras runs on."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(trainee, recipe)
    if backend == "jax":
        return JaxStepper(trainee, recipe)
    raise ValueError(f"training runs on tensorflow and on jax, found the backend {backend}")
