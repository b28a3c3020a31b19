"""Write ONNX graphs with Python's operators: `y = x @ kernel + bias` adds a MatMul and an Add.

A `Value` is a tensor of a graph. Numbers and numpy arrays beside one become constants; equal ones are stored once.
`Graph.scan` and `Graph.choose` add the two kinds of nodes that hold a graph of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Operand: TypeAlias = "Value | np.ndarray | np.generic | float"
TYPES = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
END = np.iinfo(np.int64).max  # of a slice that goes to the end of its axis


class Value:
    """A tensor of a graph, by its name."""

    __array_ufunc__ = None  # so that `array + value` calls `__radd__`

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Operand) -> Value:
        return self.graph.add("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.add("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.add("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.add("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.add("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.add("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.add("Div", self, other)

    def __matmul__(self, other: Operand) -> Value:
        return self.graph.add("MatMul", self, other)

    def __rmatmul__(self, other: Operand) -> Value:
        return self.graph.add("MatMul", other, self)

    def __mod__(self, other: Operand) -> Value:
        return self.graph.add("Mod", self, other)

    def part(self, axis: int, start: int, stop: int | None = None, step: int = 1) -> Value:
        """Return a part of one axis, as Python slices it."""
        stop = stop if stop is not None else (END if step > 0 else -END)
        limits = (np.array([number], np.int64) for number in (start, stop, axis, step))
        return self.graph.add("Slice", self, *limits)

    def split(self, *sizes: int) -> list[Value]:
        """Cut the last axis into parts of these sizes."""
        return self.graph.add_many("Split", len(sizes), self, np.array(sizes, np.int64), axis=-1)

    def reshape(self, *shape: int) -> Value:
        """Return another shape: 0 leaves an axis as it is, -1 is what remains."""
        return self.graph.add("Reshape", self, np.array(shape, np.int64))

    def pad(self, before: int, after: int) -> Value:
        """Put zeros before and after the last axis of [batch, frame, channels]."""
        return self.graph.add("Pad", self, np.array([0, 0, before, 0, 0, after]))

    def swap(self, *axes: int) -> Value:
        """Return the axes in another order."""
        return self.graph.add("Transpose", self, perm=list(axes))

    def take(self, indices: Operand) -> Value:
        """Return the rows of these numbers; -1 is the last row."""
        return self.graph.add("Gather", self, indices, axis=0)

    def sum(self, axis: int, keep: bool = False) -> Value:
        """Return the sum along an axis."""
        return self.graph.add("ReduceSum", self, np.array([axis], np.int64), keepdims=int(keep))

    def expand(self, *axes: int) -> Value:
        """Insert axes of size 1."""
        return self.graph.add("Unsqueeze", self, np.array(axes, np.int64))

    def cast(self, dtype: str) -> Value:
        """Return the tensor as another type."""
        return self.graph.add("Cast", self, to=TYPES[dtype])

    def clip(self, least: float, most: float) -> Value:
        """Limit the numbers to a range."""
        return self.graph.add("Clip", self, least, most)

    def shape(self, start: int, stop: int) -> Value:
        """Return the sizes of some axes, int64 [axes]."""
        return self.graph.add("Shape", self, start=start, end=stop)


class Graph:
    """A graph that is being written.

    Args:
        numbers: shared with the graph around, so that no two values have one name.
    """

    def __init__(self, numbers: Iterator[int] | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._numbers = numbers or itertools.count(1)
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, operation: str, *inputs: Operand, **attributes: Any) -> Value:
        """Add a node with one output."""
        return self.add_many(operation, 1, *inputs, **attributes)[0]

    def add_many(self, operation: str, outputs: int, *inputs: Operand, **attributes: Any) -> list[Value]:
        """Add a node with some outputs."""
        names = [f"{operation}_{next(self._numbers)}" for _ in range(outputs)]
        operands = [self.value(operand).name for operand in inputs]
        self.nodes.append(helper.make_node(operation, operands, names, name=names[0], **attributes))
        return [Value(self, name) for name in names]

    def value(self, operand: Operand) -> Value:
        """Return a value of this graph or of the one around; a number or an array becomes a constant."""
        if isinstance(operand, Value):
            return operand if operand.graph is self else Value(self, operand.name)
        array = np.asarray(operand, np.float32) if isinstance(operand, int | float) else np.asarray(operand)
        return self.constant(array)

    def constant(self, array: np.ndarray, name: str = "") -> Value:
        """Store an array in the graph."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = name or f"constant_{next(self._numbers)}"
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), self._names[key])
            self.constants[self._names[key]] = tensor
        return Value(self, self._names[key])

    def concatenate(self, parts: Sequence[Operand], axis: int = -1) -> Value:
        """Join tensors along an axis."""
        return self.add("Concat", *parts, axis=axis)

    def where(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """Return elements of `yes` where the condition is true, else of `no`."""
        return self.add("Where", condition, yes, no)

    def scan(
        self,
        step: Callable[[Graph, list[Value], list[Value]], tuple[list[Value], list[Value]]],
        state: Sequence[tuple[Value, str]],
        frames: Sequence[tuple[Value, str]],
        outputs: Sequence[str],
    ) -> list[Value]:
        """Run a step for each frame, one after the other.

        Args:
            step: from its graph, the state and the frame to the state after it and its outputs.
            state: values before the first frame, with their types.
            frames: values [batch, frame, ...] with their types; a step sees [batch, ...] of each.
            outputs: types of the outputs of a step.

        Returns:
            The state after the last frame, then the outputs [batch, frame, ...].
        """
        body = Graph(self._numbers)
        inside = [body._new("inside") for _ in (*state, *frames)]
        after, results = step(body, inside[: len(state)], inside[len(state) :])
        types = [dtype for _, dtype in (*state, *frames)]
        out_types = [*types[: len(state)], *outputs]
        proto = body.proto("step", _infos(inside, types), body._results([*after, *results], out_types))
        return self.add_many(
            "Scan",
            len(out_types),
            *(value for value, _ in (*state, *frames)),
            body=proto,
            num_scan_inputs=len(frames),
            scan_input_axes=[1] * len(frames),
            scan_output_axes=[1] * len(outputs),
        )

    def choose(
        self,
        condition: Value,
        yes: Callable[[Graph], list[Value]],
        no: Callable[[Graph], list[Value]],
        types: Sequence[str],
    ) -> list[Value]:
        """Return the outputs of one of two graphs; only the chosen one runs.

        Args:
            condition: bool, one element.
            yes: adds the outputs for true to a graph.
            no: adds the outputs for false to a graph.
            types: of the outputs.
        """
        branches = []
        for name, write in (("yes", yes), ("no", no)):
            body = Graph(self._numbers)
            branches.append(body.proto(name, [], body._results(write(body), types)))
        then_branch, else_branch = branches
        return self.add_many("If", len(types), condition, then_branch=then_branch, else_branch=else_branch)

    def proto(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """Return the finished graph."""
        return helper.make_graph(self.nodes, name, inputs, outputs, list(self.constants.values()))

    def rename(self, value: Operand, name: str) -> Value:
        """Return a value under a name of its own."""
        self.nodes.append(helper.make_node("Identity", [self.value(value).name], [name], name=name))
        return Value(self, name)

    def _new(self, prefix: str) -> Value:
        return Value(self, f"{prefix}_{next(self._numbers)}")

    def _results(self, values: Sequence[Value], types: Sequence[str]) -> list[ValueInfoProto]:
        """Describe the outputs of a graph inside a node; each has a name of its own."""
        named = [self.rename(value, self._new("result").name) for value in values]
        return _infos(named, types)


def _infos(values: Sequence[Value], types: Sequence[str]) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(value.name, TYPES[dtype], None)
        for value, dtype in zip(values, types, strict=True)
    ]
