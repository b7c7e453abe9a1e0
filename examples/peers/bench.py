"""Runs every tool on every network in turns and prints the table; started by `run`, which made what it needs."""

import argparse
import json
import math
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

import numpy as np

import convert
import emit

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = 5  # per round and tool; each is the mean of about 20 ms of runs
CALIBRATION, CHECKED = 64, 8
WRONG = 0.5  # share of the output range from which an output is called wrong


class Bad(Exception):
    """A state that ends the program with one line."""


def networks(mlperf):
    """Name: file and kind of input. Noise is enough: time does not depend on values, and agreement is with the float network."""
    found = {}
    if mlperf:
        found |= {
            "kws": (mlperf / "kws_dscnn.onnx", mlperf / "kws_calib.npz"),
            "vww": (mlperf / "vww_mobilenetv1_025_96.onnx", (0, 1)),
            "ic": (mlperf / "ic_resnet8.onnx", (0, 255)),
            "ad": (mlperf / "ad_autoencoder.onnx", (-1, 1)),
        }
    models = HERE.parent / "models"
    return found | {
        "digits_cnn": (models / "digits_cnn.onnx", (0, 1)),
        "digits_dscnn": (models / "digits_dscnn.onnx", (0, 1)),
        "cancer_mlp": (models / "cancer_mlp.onnx", (-2, 2)),
    }


def noise(shape, lo, hi, count, rng):
    """Smooth images between `lo` and `hi`, contrast stretched, or flat noise where the input is no image."""
    if len(shape) != 4:
        return rng.uniform(lo, hi, (count, *shape[1:])).astype(np.float32)
    spatial = [d for d in range(1, 4) if shape[d] > 3]
    coarse = [4 if d in spatial else n for d, n in enumerate(shape)][1:]
    x = rng.standard_normal((count, *coarse))
    for d in spatial:
        at = np.linspace(0, 3, shape[d])
        low, part = np.minimum(at.astype(int), 2), at - np.minimum(at.astype(int), 2)
        part = part.reshape([-1 if e == d else 1 for e in range(4)])
        x = np.take(x, low, d) * (1 - part) + np.take(x, low + 1, d) * part
    x += 0.1 * rng.standard_normal(x.shape)
    least, most = (f(x, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return (lo + (hi - lo) * (x - least) / (most - least)).astype(np.float32)


def spread_out(y, count):
    """Indices of `count` rows of `y` that are far from each other, so that a check by them has something to see."""
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int(np.argmax(np.min([np.abs(y - y[i]).sum(axis=1) for i in chosen], axis=0))))
    return chosen


class Case:
    """A network in every form that a tool needs, and the float outputs for some inputs."""

    def __init__(self, name, path, kind, folder, elastiq):
        self.name, self.folder, self.refusals = name, folder, {}
        if not path.is_file():
            raise Bad(f"{path}: no such file")
        folder.mkdir(parents=True, exist_ok=True)
        reference = convert.session(convert.with_batch_one(path).SerializeToString())
        port = reference.get_inputs()[0]
        if isinstance(kind, tuple):
            samples = noise(port.shape, *kind, 256, np.random.default_rng(1))
        else:
            samples = np.load(kind)["x"].astype(np.float32)
        y = np.stack([reference.run(None, {port.name: x.reshape(port.shape)})[0].ravel() for x in samples])
        chosen = spread_out(y, CHECKED)
        self.expected = y[chosen]
        samples_file = folder / "samples.npz"
        calibration = np.concatenate([samples[chosen], samples[:CALIBRATION]])
        np.savez(samples_file, x=calibration)
        network, seen = convert.load(path, calibration)
        convert.quantize(network, seen)
        emit.tflite(network, folder / "net.tflite")
        emit.layer_list(network, folder / "net.txt")
        np.ascontiguousarray(network.to_input(samples[chosen])).astype("<f4").tofile(folder / "inputs.f32")
        report = self.compile(elastiq, path, samples_file, "net.eqm")
        self.macs, self.shrunk = report["macs_imported"], report["macs"] < report["macs_imported"]
        if self.shrunk:
            self.compile(elastiq, path, samples_file, "all.eqm", "--no-dead-channels")

    def compile(self, elastiq, path, samples, name, *options):
        """Report of `elastiq compile`."""
        command = [elastiq, "compile", path, "--calib", samples, "--json", "--core", "host", *options, "-o", self.folder / name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Bad(first_line(done.stderr))
        return json.loads(done.stdout)

    def microflow(self, cache):
        """Worker with this network compiled in, or None: the macro of microflow reads it when it expands."""
        built = self.folder / "microflow"
        built.unlink(missing_ok=True)
        command = ["cargo", "build", "-q", "--release", "--locked", "--features", "microflow", "--bin", "microflow"]
        environment = os.environ | {"PEERS_NET": str(self.folder / "net.tflite"), "CARGO_TARGET_DIR": str(cache / "build")}
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
        if done.returncode:
            self.refusals["microflow"] = first_line(done.stderr, "error")
            return None
        shutil.copy(cache / "build" / "release" / "microflow", built)
        return [built, self.folder / "net.txt"]

    def tools(self, cache):
        """Name and command of every tool that can be started on this network."""
        rust, wheel = cache / "build" / "release", [sys.executable, HERE / "worker.py"]
        found = {"elastiq": [rust / "elastiq", self.folder / "net.eqm"]}
        if self.shrunk:
            found["elastiq, all channels"] = [rust / "elastiq", self.folder / "all.eqm"]
        found["LiteRT + XNNPACK"] = [*wheel, "litert", self.folder / "net.tflite"]
        found["tflite-micro"] = [*wheel, "tflm", self.folder / "net.tflite"]
        found["embedded-nn"] = [rust / "embedded_nn", self.folder / "net.txt"]
        if command := self.microflow(cache):
            found["microflow"] = command
        return found

    def error(self, outputs):
        """Largest difference from the float network, as a share of the range of its outputs."""
        if outputs.shape != self.expected.shape:
            raise ValueError(f"output of shape {outputs.shape}, not {self.expected.shape}")
        return float(np.abs(outputs - self.expected).max() / (self.expected.max() - self.expected.min()))


def first_line(text, start=""):
    """First line that begins with `start`, else the first one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(start)), lines[0] if lines else "no message")


def measure(command, inputs):
    """Outputs [input, element] and microseconds of one worker; ValueError with its first line otherwise."""
    done = subprocess.run([*command, inputs, str(SAMPLES)], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    times = [float(v) for row in rows if row[:1] == ["us"] for v in row[1:]]
    if done.returncode or not times:
        raise ValueError(first_line(done.stderr) if done.returncode >= 0 else f"ended by signal {-done.returncode}")
    return np.array([[float(v) for v in row[1:]] for row in rows if row[0] == "y"]), times


def significant(value):
    """Three significant digits, thousands separated."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{digits}f}"


def aligned(rows):
    """Markdown table with columns of equal width; the first two columns are text."""
    width = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    text = [" | ".join(v.ljust(w) if c < 2 else v.rjust(w) for c, (v, w) in enumerate(zip(row, width))) for row in rows]
    rule = "|".join(("-" * (w + 2) if c < 2 else "-" * (w + 1) + ":") for c, w in enumerate(width))
    return "\n".join([f"| {text[0]} |", f"|{rule}|", *(f"| {line} |" for line in text[1:])])


def versions():
    """What is compared, from the files that pin it."""
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (HERE / "requirements.txt").read_text(), re.M))
    crates = dict(re.findall(r'^name = "([\w-]+)"\nversion = "(\S+)"', (HERE / "Cargo.lock").read_text(), re.M))
    named = [("elastiq", crates), ("ai-edge-litert", pinned), ("tflite-micro", pinned), ("embedded-nn", crates), ("microflow", crates)]
    return ", ".join(f"{name} {where[name]}" for name, where in named)


def processor():
    """Name of the processor."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return match[1] if match else platform.machine()


def chosen_networks(args):
    """Cases to measure, by name."""
    mlperf = os.environ.get("ELASTIQ_MLPERF_TINY")
    known = networks(pathlib.Path(mlperf) if mlperf else None)
    default = [n for n in known if mlperf is None or n in ("kws", "vww", "ic", "ad")]
    names = args.networks.split(",") if args.networks else default
    for name in names:
        if name not in known:
            raise Bad(f"no network named {name}; there are {', '.join(known)}")
    if not mlperf:
        print("MLPerf Tiny networks are not measured: ELASTIQ_MLPERF_TINY does not name their folder.\n")
    return {name: known[name] for name in names}


def progress(text):
    """One line on a terminal, nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="examples/peers/run", description="Speed of elastiq and four peers on the same networks")
    parser.add_argument("--networks", help="names with commas; all MLPerf Tiny networks, or the shipped ones without them")
    parser.add_argument("--rounds", type=int, default=5, help=f"turns of every tool, {SAMPLES} samples each (default 5)")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--elastiq", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 1:
        raise Bad("--rounds has to be at least 1")
    cases, commands = [], {}
    for name, (path, kind) in chosen_networks(args).items():
        progress(f"{name}: prepare")
        try:
            case = Case(name, path, kind, args.cache / "nets" / name, args.elastiq)
        except (Bad, OSError):
            raise
        except Exception as e:  # onnx and onnxruntime raise types of their own for damaged files
            raise Bad(f"{path}: {first_line(str(e))}") from e
        cases.append(case)
        for tool, command in case.tools(args.cache).items():
            commands[name, tool] = command
    times, errors = {key: [] for key in commands}, {}
    for turn in range(args.rounds):
        for case in cases:
            for tool in [t for n, t in commands if n == case.name and t not in case.refusals]:
                progress(f"round {turn + 1} of {args.rounds}: {case.name}, {tool}")
                try:
                    outputs, found = measure(commands[case.name, tool], case.folder / "inputs.f32")
                    errors[case.name, tool] = case.error(outputs)
                    times[case.name, tool] += found
                except ValueError as e:
                    case.refusals[tool] = str(e)
    progress("")
    rows = [["network", "tool", "median µs", "quartiles µs", "time / elastiq", "error"]]
    notes = []
    for case in cases:
        if "elastiq" in case.refusals:
            raise Bad(f"{case.name}: {case.refusals['elastiq']}")
        base = statistics.median(times[case.name, "elastiq"])
        for name, tool in [key for key in commands if key[0] == case.name and key[1] not in case.refusals]:
            low, median, high = statistics.quantiles(times[name, tool], n=4, method="inclusive")
            error = errors[name, tool]
            quartiles = f"{significant(low)} to {significant(high)}"
            rows.append([name, tool, significant(median), quartiles, f"{median / base:.2f}", f"{error:.1%}"])
            if error > WRONG:
                notes.append(f"- {tool}, {name}: runs, but its output is wrong (off by {error:.0%} of the range)")
        notes += [f"- {tool}, {case.name}: does not run: `{reason}`" for tool, reason in case.refusals.items()]
    print(f"{processor()}, one thread, {args.rounds} x {SAMPLES} samples; {versions()}\n")
    print(aligned(rows))
    if notes:
        print("\n" + "\n".join(notes))


if __name__ == "__main__":
    try:
        main()
    except (Bad, OSError) as e:
        progress("")
        print(f"peers: {e}", file=sys.stderr)
        sys.exit(2)
