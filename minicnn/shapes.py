"""Shapes through a stack of layers, and errors that show them.

Everything here works on shapes alone: a mistake is found before any array exists.
"""

from __future__ import annotations

from math import prod


def infer(layers, input_shape):
    """The shape after each layer; a ``ValueError`` with the table of shapes at the first layer that cannot follow.

    Parameters
    ----------
    layers : list of Layer
        Named layers; they are not changed.
    input_shape : tuple
        Shape of one input.
    """
    shapes = []
    arriving = input_shape
    for position, layer in enumerate(layers):
        declared = layer.declared_input_shape
        try:
            if declared not in (None, arriving):
                raise ValueError(f"{layer.kind} declares input_shape {declared}, but what arrives is {arriving}")
            arriving = layer.compute_output_shape(arriving)
        except ValueError as error:
            raise ValueError(_table(layers, input_shape, shapes, str(error),
                                    _hint(layers[:position], layer, input_shape, arriving))) from None
        shapes.append(arriving)
    return shapes


def _table(layers, input_shape, shapes, problem, hint):
    rows = [("input", "", input_shape)]
    rows += [(layer.name, layer.kind, shape) for layer, shape in zip(layers, shapes)]
    failing = layers[len(shapes)]
    width = max(len(row[0]) for row in [*rows, (failing.name,)])
    kind_width = max(len(row[1]) for row in [*rows, ("", failing.kind)])
    lines = [f"layer {failing.name!r} cannot be built: {problem}", "", "  shapes so far (without the batch axis):"]
    lines += [f"    {name:{width}}  {kind:{kind_width}}  {shape}" for name, kind, shape in rows]
    lines += [f"  > {failing.name:{width}}  {failing.kind:{kind_width}}  does not fit"]
    return "\n".join(lines + ([f"  hint: {hint}"] if hint else []))


def _hint(before, layer, input_shape, arriving):
    """What would make a declared input shape fit: another image size, or another declaration."""
    declared = layer.declared_input_shape
    if declared in (None, arriving):
        return ""
    ways = [f"declare input_shape={arriving} instead, or leave it out: the layer finds it by itself"]
    sizes = fitting_image_sizes(before, declared, input_shape)
    if sizes:
        channels = input_shape[2]
        shown = f"{sizes[0]}x{sizes[0]}" + (f" (up to {sizes[-1]}x{sizes[-1]})" if len(sizes) > 1 else "")
        ways.append(f"feed images of {shown} pixels and {channels} channel{'s' if channels > 1 else ''}, which become "
                    f"{declared}")
    if len(declared) == len(arriving) == 1:
        ways[0] += f" ({_factors(before, arriving)}{arriving[0]} numbers arrive)"
    return ", or ".join(reversed(ways))


def fitting_image_sizes(layers, wanted, input_shape, limit=512):
    """Every square image size up to ``limit`` from which ``layers`` make the shape ``wanted``."""
    if len(input_shape) != 3:
        return []
    sizes = []
    for size in range(1, limit + 1):
        shape = (size, size, input_shape[2])
        try:
            for layer in layers:
                shape = layer.compute_output_shape(shape)
        except ValueError:
            continue
        if shape == wanted:
            sizes.append(size)
        elif sizes or prod(shape) > prod(wanted):
            break
    return sizes


def _factors(before, arriving):
    """``8 * 8 * 64 = `` when a Flatten of that shape comes last before the layer."""
    if before and before[-1].kind == "Flatten" and before[-1].input_shape:
        return " * ".join(map(str, before[-1].input_shape)) + " = "
    return ""


def check_batch(model, x):
    """Check that a batch ``x`` has the shape that ``model`` was built for; ``ValueError`` with a hint otherwise."""
    expected = model.input_shape
    if x.shape[1:] == expected and x.ndim == len(expected) + 1:
        return
    got = tuple(x.shape)
    expected_text = "(batch, " + ", ".join(map(str, expected)) + ")"
    hint = ""
    if got == expected:
        hint = "this is one example; add the batch axis: x[None]"
    elif len(expected) == 3 and got[1:] == expected[:2] and expected[2] == 1:
        hint = "add the channel axis: x[..., None]"
    elif len(expected) == 3 and len(got) == 4 and got[1:] == (expected[2], *expected[:2]):
        hint = "the channels come first here; put them last: x.transpose(0, 2, 3, 1)"
    elif len(expected) == 3 and len(got) == 4 and got[3] == expected[2]:
        hint = (f"crop or resize the images to {expected[0]}x{expected[1]}, or build the model for "
                f"{got[1]}x{got[2]}: its Dense layers depend on the image size")
    elif len(expected) == 3 and len(got) == 2 and got[1] == prod(expected):
        hint = f"the images are flat; give them back their shape: x.reshape(-1, {', '.join(map(str, expected))})"
    rows = "\n".join(f"    {layer.name}  {layer.kind}  {layer.output_shape}" for layer in model.layers)
    raise ValueError(f"x: expected shape {expected_text}, got {got}" + (f"\n  hint: {hint}" if hint else "") +
                     f"\n  the model was built as\n    input    {expected}\n{rows}")
