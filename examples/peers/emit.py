"""Writes an int8 network as .tflite, and as the layer list that `src/bin/embedded_nn.rs` runs."""

import math

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as fb

OPERATORS = {
    "conv": (fb.BuiltinOperator.CONV_2D, 3),
    "depthwise": (fb.BuiltinOperator.DEPTHWISE_CONV_2D, 3),
    "dense": (fb.BuiltinOperator.FULLY_CONNECTED, 4),
    "avgpool": (fb.BuiltinOperator.AVERAGE_POOL_2D, 2),
    "maxpool": (fb.BuiltinOperator.MAX_POOL_2D, 2),
    "add": (fb.BuiltinOperator.ADD, 2),
    "reshape": (fb.BuiltinOperator.RESHAPE, 1),
    "softmax": (fb.BuiltinOperator.SOFTMAX, 2),
}
ACT = {"none": 0, "relu": 1, "relu6": 3}


def options(layer, network):
    """Type and table of the builtin options of a layer."""
    kinds = fb.BuiltinOptions
    match layer.kind:
        case "conv" | "depthwise":
            depthwise = layer.kind == "depthwise"
            table = fb.DepthwiseConv2DOptionsT() if depthwise else fb.Conv2DOptionsT()
            table.dilationHFactor = table.dilationWFactor = 1
            if depthwise:
                table.depthMultiplier = layer.weights.shape[3] // network.tensors[layer.inputs[0]].shape[3]
            kind = kinds.DepthwiseConv2DOptions if depthwise else kinds.Conv2DOptions
        case "avgpool" | "maxpool":
            table, kind = fb.Pool2DOptionsT(), kinds.Pool2DOptions
            table.filterHeight, table.filterWidth = layer.kernel
        case "dense":
            table, kind = fb.FullyConnectedOptionsT(), kinds.FullyConnectedOptions
        case "add":
            table, kind = fb.AddOptionsT(), kinds.AddOptions
        case "reshape":
            table, kind = fb.ReshapeOptionsT(), kinds.ReshapeOptions
            table.newShape = list(network.tensors[layer.output].shape)
        case "softmax":
            table, kind = fb.SoftmaxOptionsT(), kinds.SoftmaxOptions
            table.beta = 1.0
    if hasattr(table, "strideH"):
        table.strideH, table.strideW = layer.stride
        table.padding = fb.Padding.SAME if layer.same else fb.Padding.VALID
    if hasattr(table, "fusedActivationFunction"):
        table.fusedActivationFunction = ACT[layer.act]
    return kind, table


def tflite(network, path):
    """Writes the flatbuffer."""
    model, graph = fb.ModelT(), fb.SubGraphT()
    model.version, model.description = 3, "int8"
    model.buffers, graph.tensors, graph.operators, model.operatorCodes = [fb.BufferT()], [], [], []
    index, codes = {}, {}

    def tensor(name, shape, dtype, data=None, scale=None, zero=None, axis=0):
        t, q = fb.TensorT(), fb.QuantizationParametersT()
        t.name, t.shape, t.type, t.buffer = name, [int(d) for d in shape], dtype, 0
        if scale is not None:
            q.scale, q.zeroPoint, q.quantizedDimension = [float(s) for s in scale], [int(z) for z in zero], axis
        t.quantization = q
        if data is not None:
            buffer = fb.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            t.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    for name, t in network.tensors.items():
        index[name] = tensor(name, t.shape, fb.TensorType.INT8, None, [t.scale], [t.zero])
    for number, layer in enumerate(network.layers):
        inputs = [index[i] for i in layer.inputs]
        if layer.weights is not None:
            zeros = [0] * len(layer.w_scale)
            axis = 3 if layer.kind == "depthwise" else 0
            inputs.append(
                tensor(f"w{number}", layer.weights.shape, fb.TensorType.INT8, layer.weights, layer.w_scale, zeros, axis)
            )
            scale = network.tensors[layer.inputs[0]].scale * layer.w_scale
            inputs.append(tensor(f"b{number}", layer.bias.shape, fb.TensorType.INT32, layer.bias, scale, zeros))
        if layer.kind == "reshape":
            shape = np.array(network.tensors[layer.output].shape, np.int32)
            inputs.append(tensor(f"s{number}", shape.shape, fb.TensorType.INT32, shape))
        builtin, version = OPERATORS[layer.kind]
        if builtin not in codes:
            code = fb.OperatorCodeT()
            code.deprecatedBuiltinCode = code.builtinCode = builtin
            code.version = version
            codes[builtin] = len(codes)
            model.operatorCodes.append(code)
        op = fb.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = codes[builtin], inputs, [index[layer.output]]
        op.builtinOptionsType, op.builtinOptions = options(layer, network)
        graph.operators.append(op)
    graph.inputs, graph.outputs, graph.name = [index[network.input]], [index[network.output]], "main"
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def multiplier(real):
    """Q31 multiplier and left shift of a positive factor."""
    fraction, shift = math.frexp(real)
    q = round(fraction * 2**31)
    return (q // 2, shift + 1) if q == 2**31 else (q, shift)


def bounds(layer, out):
    """Least and greatest output code under the fused activation."""
    lo = -128 if layer.act == "none" else max(out.zero, -128)
    hi = min(127, out.zero + round(6 / out.scale)) if layer.act == "relu6" else 127
    return lo, hi


def layer_list(network, path):
    """Writes `path` (.txt, one layer a line, integers) and beside it .bin (weights, biases, multipliers, shifts).

    A line is the kind, the tensors read and written, both shapes as h w c, zero points, output bounds, and what the kind
    adds; the first two lines give scale, zero point and length of input and output.
    """
    tensors, lines, blob = network.tensors, [], bytearray()
    number = {name: i for i, name in enumerate(tensors)}

    def hwc(name):
        shape = tensors[name].shape
        return shape[1:] if len(shape) == 4 else (1, 1, shape[1])

    for name in (network.input, network.output):
        t = tensors[name]
        lines.append(["port", number[name], math.prod(t.shape), np.float32(t.scale).view(np.uint32), t.zero])
    for layer in network.layers:
        out, sources = tensors[layer.output], [tensors[i] for i in layer.inputs]
        source = sources[0]
        line = [layer.kind, number[layer.inputs[0]], number[layer.output], *hwc(layer.inputs[0]), *hwc(layer.output)]
        line += [source.zero, out.zero, *bounds(layer, out), *layer.kernel, *layer.stride, *layer.pad]
        if layer.weights is not None:
            scales = source.scale * layer.w_scale.astype(np.float64) / out.scale
            pairs = [multiplier(s) for s in scales]
            for part, dtype in ((layer.weights, "i1"), (layer.bias, "<i4"), *((p, "<i4") for p in zip(*pairs))):
                blob += np.asarray(part).astype(dtype).tobytes()
        if layer.kind == "add":
            # As TFLite does it: both operands at twice the larger scale, 20 bits up.
            twice = 2 * max(s.scale for s in sources)
            line += [number[layer.inputs[1]], sources[1].zero, 20]
            for factor in (*(s.scale / twice for s in sources), twice / (2**20 * out.scale)):
                line += multiplier(factor)
        if layer.kind == "softmax":
            q, shift = multiplier(min(source.scale * 2**26, 2**31 - 1))
            line += [q, shift, -math.floor(31 * 2**26 / 2**shift)]
        lines.append(line)
    path.write_text("".join(" ".join(str(x) for x in line) + "\n" for line in lines))
    path.with_suffix(".bin").write_bytes(blob)
