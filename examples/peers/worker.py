"""Times one network in one interpreter of a Python package; only `invoke` is timed. Prints what the Rust workers print."""

import sys
import time

import numpy as np

WARM_S, SAMPLE_S = 0.05, 0.02


def litert(path):
    """TFLite with XNNPACK, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(model_path=path, num_threads=1)
    net.allocate_tensors()
    i, o = net.get_input_details()[0], net.get_output_details()[0]
    return i, o, lambda x: net.set_tensor(i["index"], x), net.invoke, lambda: net.get_tensor(o["index"])


def tflm(path):
    """TensorFlow Lite Micro, as its package builds it."""
    from tflite_micro.python.tflite_micro import runtime

    net = runtime.Interpreter.from_file(path)
    i, o = net.get_input_details(0), net.get_output_details(0)
    for port in (i, o):
        q = port["quantization_parameters"]
        port["quantization"] = (q["scales"][0], q["zero_points"][0])
    return i, o, lambda x: net.set_input(x, 0), net.invoke, lambda: net.get_output(0)


def batch_us(invoke, count):
    """Time of one of `count` calls."""
    start = time.perf_counter()
    for _ in range(count):
        invoke()
    return (time.perf_counter() - start) / count * 1e6


def main(tool, path, inputs, samples):
    i, o, put, invoke, get = {"litert": litert, "tflm": tflm}[tool](path)
    shape = tuple(int(d) for d in i["shape"])
    scale, zero = i["quantization"]
    for x in np.fromfile(inputs, np.float32).reshape(-1, *shape):
        put(np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8))
        invoke()
        scale_out, zero_out = o["quantization"]
        print("y", *((get().astype(np.float32).ravel() - zero_out) * scale_out))
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < WARM_S:
        invoke()
        calls += 1
    count = max(1, round(calls * SAMPLE_S / WARM_S))
    print("us", *(batch_us(invoke, count) for _ in range(int(samples))))


if __name__ == "__main__":
    main(*sys.argv[1:])
