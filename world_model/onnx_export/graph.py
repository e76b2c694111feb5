"""A step as an ONNX model: traced by torch, its weights stored in float16 where that is exact."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.onnx_export.step import Step

OPSET = 20
"""GridSample needs 16, an exact GELU 20."""
TALKATIVE = ("torch.onnx._internal.exporter._registration", "onnxscript")
SMALLEST = 256
"""Numbers that a constant has at least to be stored in float16."""


def check_installed() -> None:
    """Raise ValueError, naming the cure, unless what writes ONNX models is installed."""
    try:
        import onnx_ir  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "--onnx needs onnx and onnxscript: pip install 'irasim-env[onnx]'"
        ) from error


def write_graph(step: Step, path: Path) -> None:
    """Trace a step and write it as an ONNX model in one file."""
    import onnx_ir as ir

    arguments = (step.action(), *step.arguments(step.template.clone()))
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            torch.export.export(step.eval(), arguments),
            arguments,
            input_names=step.inputs,
            output_names=step.outputs,
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
            custom_translation_table={torch.ops.aten.select_scatter.default: _select_scatter},
        )
    assert program is not None
    _register_constants(program.model.graph)
    _store_halves(program.model.graph)
    ir.save(program.model, path)


def _select_scatter(whole: Any, part: Any, dim: int, index: int) -> Any:
    """Write `part` over one slice of `whole` along a dimension: copies of blocks.

    torch's own translation moves number by number (ScatterElements), which for a ring of keys and
    values took 40 % of a step.
    """
    from onnxscript import opset20

    op: Any = opset20  # its types know no constants

    size = whole.shape[dim]
    index %= size
    pieces = [op.Unsqueeze(part, op.Constant(value_ints=[dim]))]
    for first, last, before in ((0, index, True), (index + 1, size, False)):
        if first < last:
            ends = (op.Constant(value_ints=[end]) for end in (first, last, dim))
            piece = op.Slice(whole, *ends)
            pieces.insert(0 if before else len(pieces), piece)
    return op.Concat(*pieces, axis=dim)


def _register_constants(graph: Any) -> None:
    """Make constants that nodes take initializers, where onnxscript's optimizer has not: two
    clamps of one tensor get bounds of the same name, of which it keeps the first pair."""
    for node in graph:
        for value in node.inputs:
            if value is None or value.producer() is not None or value.const_value is None:
                continue
            graph.initializers.setdefault(value.name, value)


def _store_halves(graph: Any) -> None:
    """Store float32 constants in float16 where no bit is lost, and widen them in the graph.

    The weights of a world's file are float16, so half of the model's bytes say nothing. A runtime
    folds the casts when it loads the model, so a step computes what it did.
    """
    import onnx_ir as ir

    for name, value in list(graph.initializers.items()):
        held = value.const_value
        if held is None or held.dtype != ir.DataType.FLOAT or held.size < SMALLEST:
            continue
        wide = held.numpy()
        with np.errstate(over="ignore"):
            narrow = wide.astype(np.float16)
        if not np.array_equal(narrow.astype(np.float32), wide):
            continue
        half = ir.Value(
            name=f"{name}.float16",
            shape=value.shape,
            type=ir.TensorType(ir.DataType.FLOAT16),
            const_value=ir.tensor(narrow, name=f"{name}.float16"),
        )
        cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT.value})
        widened = cast.outputs[0]
        widened.name, widened.shape, widened.type = f"{name}.float32", value.shape, value.type
        value.replace_all_uses_with(widened)
        del graph.initializers[name]
        graph.initializers[half.name] = half
        graph.insert_before(graph[0], cast)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says about itself: deprecations, constants that it has not
    folded, and that torchvision, which nothing here needs, is absent."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
