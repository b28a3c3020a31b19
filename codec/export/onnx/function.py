"""A graph with named inputs, outputs and state, as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from codec.export.onnx.graph import TYPES, Graph, Value
from codec.export.specs import ArraySpec, FunctionSpec

OPSET = 20  # the first with GELU; ONNX Runtime has it since 1.17
IR_VERSION = 9  # of the same time
NEXT = "next_"  # before the name of a state: its value after the call
INT8_LIMIT, INT16_LIMIT = 127, 32767


class Function(Graph):
    """A graph that is called with arrays by name. Its state is an input `name` and an output `next_name`.

    Args:
        name: of the file.
        weights: how weights are stored, one of `codec.export.onnx.WEIGHTS`; all are float32 in a loaded model.
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        self.name, self.stored_weights = name, weights
        self.spec = FunctionSpec({}, {}, {}, f"{name}.onnx")

    def input(self, name: str, dtype: str, *shape: int | str) -> Value:
        """Add an input."""
        self.spec.inputs[name] = ArraySpec(shape, dtype)
        return Value(self, name)

    def output(self, name: str, value: Value, dtype: str, *shape: int | str) -> None:
        """Add an output."""
        self.spec.outputs[name] = ArraySpec(shape, dtype)
        self.rename(value, name)

    def state(self, name: str, dtype: str, *shape: int) -> Value:
        """Add a state; return its value before the call."""
        self.spec.state[name] = ArraySpec(("batch", *shape), dtype)
        return Value(self, name)

    def set_state(self, name: str, value: Value) -> None:
        """Set the value of a state after the call."""
        self.rename(value, NEXT + name)

    def extend(self, name: str, x: Value, context: int, *shape: int) -> Value:
        """Put the last `context` frames of the previous call in front of x, [batch, frame, *shape]."""
        extended = self.concatenate([self.state(name, "float32", context, *shape), x], axis=1)
        self.set_state(name, extended.part(1, -context))
        return extended

    def weight(self, name: str, array: np.ndarray) -> Value:
        """Store a weight of the network. A kernel of int8 has one scale for each of its outputs."""
        array = np.asarray(array)
        if self.stored_weights == "int8" and array.ndim > 1:
            scale = np.abs(array).max(axis=tuple(range(array.ndim - 1)), keepdims=True) / INT8_LIMIT
            scale = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny)
            whole = self.constant(np.rint(array / scale).astype(np.int8), name)
            return whole.cast("float32") * self.constant(scale, f"{name}.scale")
        return self.table(name, array)

    def table(self, name: str, array: np.ndarray) -> Value:
        """Store an array that is never int8; as float16 unless a number is too large for it."""
        with np.errstate(over="ignore"):
            half = np.asarray(array).astype(np.float16)
        if self.stored_weights == "float32" or not np.isfinite(half).all():
            return self.constant(np.asarray(array).astype(np.float32), name)
        return self.constant(half, name).cast("float32")

    def fraction(self, name: str, array: np.ndarray) -> Value:
        """Store an array of numbers in -1 .. 1, as int16 beside small weights: closer there than float16."""
        if self.stored_weights == "float32":
            return self.constant(array.astype(np.float32), name)
        whole = self.constant(np.rint(array * INT16_LIMIT).astype(np.int16), name)
        return whole.cast("float32") * (1 / INT16_LIMIT)

    def model(self, facts: Mapping[str, object]) -> ModelProto:
        """Return the finished model; facts are stored in it as text."""
        state = {NEXT + key: spec for key, spec in self.spec.state.items()}
        graph = self.proto(
            self.name, _infos({**self.spec.inputs, **self.spec.state}), _infos({**self.spec.outputs, **state})
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lamella",
        )
        helper.set_model_props(made, {key: str(value) for key, value in facts.items()})
        return made


def _infos(specs: Mapping[str, ArraySpec]) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TYPES[spec.dtype], spec.shape) for name, spec in specs.items()
    ]
