#!/usr/bin/env python3
"""ONNX Runtime on the very same weights: builds the graph of a model file, compares its outputs, times it on one CPU thread.

Reads FOLDER/model.safetensors (a committed model) and FOLDER/inputs.safetensors (inputs as the network takes them and the outputs that the
Rust code gave for them); prints one JSON document: runtime, largest difference of the outputs, times. Graphs:
  * `whole`: everything from the inputs of the whole window, as a runtime without state has to compute it;
  * `kept`: what the Rust code keeps per device between calls is an input, so both do the same work for a new input.
Calls go through I/O binding, without copies; what Python adds to a call is about a microsecond and is in the times.
Must not: change the model to its disadvantage; graphs are optimised by the runtime's highest level.
"""

import argparse
import json
import struct
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    sys.exit(f"onnx_peer.py: {missing}. Install the packages of requirements.txt beside this script.")

BATCH = 64
OPSET = 17
CALLS = (15, 20_000)


def read_tensors(path):
    """The tensors (2-D, f32) and the metadata of a safetensors file."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            sys.exit(f"onnx_peer.py: {path.name}: tensor {name} is {entry['dtype']}, expected F32.")
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[start:end], dtype="<f4").reshape(entry["shape"])
    # Keys and layout of the metadata are those of model_file.rs: one JSON document.
    return tensors, json.loads(next(iter(metadata.values()))) if metadata else {}


class Graph:
    """A graph under construction: nodes and constants with names of their own."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values, dtype=np.float32):
        self.count += 1
        name = f"constant{self.count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def add(self, kind, inputs, outputs=1, **attributes):
        """Adds a node; gives the name of its output, or of each of several."""
        self.count += 1
        names = [f"value{self.count}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def dense(self, x, weight, bias):
        return self.add("Gemm", [x, self.constant(weight), self.constant(bias.reshape(-1))])

    def session(self, inputs, outputs):
        """inputs, outputs: {name: shape}; `outputs` maps result names of nodes."""
        described = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "peer", described, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def time_calls(session, feeds, seconds):
    """Median and fastest nanoseconds of a call; feeds: {name: array}."""
    binding = session.io_binding()
    for name, values in feeds.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values)))
    for output in session.get_outputs():
        # Bound once, so that the runtime does not have to make room for results at every call.
        values = session.run([output.name], {n: np.ascontiguousarray(v) for n, v in feeds.items()})[0]
        binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(values))
    run = session.run_with_iobinding
    began = time.perf_counter_ns()
    run(binding)
    one = max(100, time.perf_counter_ns() - began)
    taken = []
    for _ in range(int(min(max(seconds * 1e9 / one, CALLS[0]), CALLS[1]))):
        began = time.perf_counter_ns()
        run(binding)
        taken.append(time.perf_counter_ns() - began)
    taken.sort()
    return {"median_ns": float(taken[len(taken) // 2]), "fastest_ns": float(taken[0])}


def lstm_weights(tensors, name, units):
    """W, R, B of one direction in ONNX's order of gates (input, output, forget, cell); ours is input, forget, candidate, output."""
    order = np.r_[0:units, 3 * units : 4 * units, units : 3 * units]
    bias = tensors[f"{name}.input.bias"].reshape(-1)
    recurrent = tensors.get(f"{name}.recurrent", np.zeros((units, 4 * units), np.float32))
    return (
        tensors[f"{name}.input.weight"][:, order].T,
        recurrent[:, order].T,
        np.concatenate([bias[order], np.zeros(4 * units, np.float32)]),
    )


def traffic_tail(graph, tensors, shape, read, hidden, code):
    """LSTMs over `read` (window x batch x read) and the last layer; hidden and code are the judged flow's."""
    parts = []
    if shape["units"] > 0:
        both = [lstm_weights(tensors, name, shape["units"]) for name in ("forward", "backward")]
        w, r, b = (graph.constant(np.stack(part)) for part in zip(*both))
        _, last = graph.add("LSTM", [read, w, r, b], outputs=2, hidden_size=shape["units"], direction="bidirectional")
        last = graph.add("Transpose", [last], perm=[1, 0, 2])
        parts.append(graph.add("Reshape", [last, graph.constant([-1, 2 * shape["units"]], np.int64)]))
    joined = graph.add("Concat", parts + [hidden, code], axis=1)
    return graph.dense(joined, tensors["head.weight"], tensors["head.bias"])


def traffic(tensors, settings, inputs):
    """(graph name, session, feeds per batch size) of a traffic model, and how its output becomes a probability."""
    shape = settings["shape"]
    window, width = shape["window"], shape["inputs"]
    flows = inputs["windows"].reshape(window, BATCH, width)

    def encode(graph, x):
        hidden = graph.add("Relu", [graph.dense(x, tensors["encoder.weight"], tensors["encoder.bias"])])
        code = graph.add("Sigmoid", [graph.dense(hidden, tensors["code.weight"], tensors["code.bias"])])
        read = graph.add("Concat", [hidden, code], axis=1) if shape["reads_hidden"] else code
        return hidden, code, read

    read_width = shape["code"] + (shape["hidden"] if shape["reads_hidden"] else 0)
    sessions = []

    def whole(batch):
        graph = Graph()
        flat = graph.add("Reshape", ["windows", graph.constant([window * batch, width], np.int64)])
        hidden, code, read = encode(graph, flat)
        last = graph.constant(np.arange((window - 1) * batch, window * batch), np.int64)
        hidden, code = (graph.add("Gather", [value, last], axis=0) for value in (hidden, code))
        read = graph.add("Reshape", [read, graph.constant([window, batch, read_width], np.int64)])
        out = traffic_tail(graph, tensors, shape, read, hidden, code)
        return graph.session({"windows": [window, batch, width]}, {out: [batch, shape["classes"]]})

    def kept(batch):
        graph = Graph()
        hidden, code, read = encode(graph, "flow")
        new = graph.add("Reshape", [read, graph.constant([1, batch, read_width], np.int64)])
        both = graph.add("Concat", ["before", new], axis=0)
        out = traffic_tail(graph, tensors, shape, both, hidden, code)
        described = {"flow": [batch, width], "before": [window - 1, batch, read_width]}
        return graph.session(described, {out: [batch, shape["classes"]], read: [batch, read_width]})

    kept_feeds = {}
    if window > 1 and shape["units"] > 0:
        session = kept(BATCH)
        none = np.zeros((window - 1, BATCH, read_width), np.float32)
        reads = [session.run(None, {"flow": flows[step], "before": none})[1] for step in range(window)]
        kept_feeds = {"before": np.stack(reads[:-1])}
    for batch in (1, BATCH):
        sessions.append(("whole", batch, whole(batch), {"windows": flows[:, :batch]}))
        if kept_feeds:
            feeds = {"flow": flows[-1][:batch], "before": kept_feeds["before"][:, :batch]}
            sessions.append(("kept", batch, kept(batch), feeds))
    temperature = settings["judgement"]["temperature"]
    return sessions, lambda logits: softmax(logits / temperature)


def vitals(tensors, settings, inputs):
    """One hour of the vital-signs ensemble: gated recurrent units per member, log-odds averaged."""
    members = settings["members"]
    units = tensors["member0.from_hidden.weight"].shape[0]
    hours = inputs["hours"].reshape(-1, BATCH, inputs["hours"].shape[1])
    # Ours is reset, update, candidate; ONNX has update first.
    order = np.r_[units : 2 * units, 0:units, 2 * units : 3 * units]

    def step(batch):
        graph = Graph()
        described, results, logits = {"hour": [batch, hours.shape[2]]}, {}, []
        for member in range(members):
            of = {name[len(f"member{member}.") :]: values for name, values in tensors.items() if name.startswith(f"member{member}.")}
            dense = graph.add("Relu", [graph.dense("hour", of["dense.weight"], of["dense.bias"])])
            dense = graph.add("Unsqueeze", [dense, graph.constant([0], np.int64)])
            w, r = (graph.constant(of[f"{name}.weight"][:, order].T[None]) for name in ("from_inputs", "from_hidden"))
            biases = [of[f"{name}.bias"].reshape(-1)[order] for name in ("from_inputs", "from_hidden")]
            state = f"state{member}"
            described[state] = [1, batch, units]
            _, new = graph.add(
                "GRU", [dense, w, r, graph.constant(np.concatenate(biases)[None]), "", state], outputs=2, hidden_size=units, linear_before_reset=1
            )
            results[new] = [1, batch, units]
            flat = graph.add("Squeeze", [new, graph.constant([0], np.int64)])
            deep = graph.dense(flat, of["out.weight"], of["out.bias"])
            logits.append(graph.add("Add", [deep, graph.add("MatMul", ["hour", graph.constant(of["linear.weight"])])]))
        mean = graph.add("Mean", logits)
        return graph.session(described, {mean: [batch, 1], **results})

    sessions = []
    for batch in (1, BATCH):
        session = step(batch)
        states = [np.zeros((1, batch, units), np.float32) for _ in range(members)]
        for hour in hours:
            feeds = {"hour": hour[:batch], **{f"state{member}": values for member, values in enumerate(states)}}
            states = session.run(None, feeds)[1:]
        sessions.append(("kept", batch, session, feeds))
    return sessions, lambda logits: logits


def ecg(tensors, settings, inputs):
    """The beat network: convolutions over signal and difference, joined with the context, members averaged."""
    members = settings["members"]
    strides = [(9, 2, 4), (7, 2, 3), (5, 2, 2)]
    signal = inputs["signal"].reshape(BATCH, -1, 2)
    steps = signal.shape[1]

    def net(batch):
        graph = Graph()
        scaled = graph.add("Sub", ["context", graph.constant(tensors["context.mean"])])
        scaled = graph.add("Mul", [scaled, graph.constant(tensors["context.scale"])])
        scaled = graph.add("Clip", [scaled, graph.constant(-4.0), graph.constant(4.0)])
        logits = []
        for member in range(members):
            weight = lambda layer: tensors[f"member-{member}.{layer}.weight"]
            bias = lambda layer: tensors[f"member-{member}.{layer}.bias"].reshape(-1)
            x, channels, length = "signal", 2, steps
            for number, (kernel, stride, pad) in enumerate(strides, 1):
                layer = f"conv{number}"
                filters = weight(layer).shape[1]
                # Ours is (kernel x channels) x filters; ONNX has filters x channels x kernel.
                w = weight(layer).reshape(kernel, channels, filters).transpose(2, 1, 0)
                inputs_of = [x, graph.constant(w), graph.constant(bias(layer))]
                x = graph.add("Relu", [graph.add("Conv", inputs_of, kernel_shape=[kernel], strides=[stride], pads=[pad, pad])])
                channels, length = filters, (length + 2 * pad - kernel) // stride + 1
            x = graph.add("Reshape", [x, graph.constant([batch, channels * length], np.int64)])
            # Ours lies time by time, ONNX channel by channel; the weights are turned instead of the values.
            w = weight("shape").reshape(length, channels, -1).transpose(1, 0, 2).reshape(channels * length, -1)
            shape = graph.dense(x, w, bias("shape"))
            rhythm = graph.dense(scaled, weight("rhythm"), bias("rhythm"))
            joint = graph.add("Relu", [graph.add("Concat", [shape, rhythm], axis=1)])
            joint = graph.add("Relu", [graph.dense(joint, weight("joint"), bias("joint"))])
            logits.append(graph.dense(joint, weight("class"), bias("class")))
        mean = graph.add("Mean", logits)
        described = {"signal": [batch, 2, steps], "context": [batch, inputs["context"].shape[1]]}
        return graph.session(described, {mean: [batch, 5]})

    sessions = []
    for batch in (1, BATCH):
        feeds = {"signal": signal[:batch].transpose(0, 2, 1), "context": inputs["context"][:batch]}
        sessions.append(("whole", batch, net(batch), feeds))
    shift, temperature = np.array(settings["shift"], np.float32), settings["temperature"]
    return sessions, lambda logits: softmax((logits + shift) / temperature)


def unsupervised(tensors, settings, inputs):
    """The ensemble without labels: its autoencoders as one of two layers, the codebook as one product, their errors mixed."""
    width, clusters = inputs["rows"].shape[1], settings["clusters"]
    units = sum(cluster["hidden"] for cluster in clusters)
    encoder, decoder = np.zeros((width, units)), np.zeros((units, width))
    encoder_bias, decoder_bias, member_of = np.zeros(units), np.zeros(width), np.zeros((width, len(clusters)))
    first = 0
    for number, cluster in enumerate(clusters):
        columns, hidden = cluster["columns"], cluster["hidden"]
        size, own = len(columns) * hidden, np.arange(first, first + hidden)
        weights = tensors[f"member.{number}"].reshape(-1)
        encoder[np.ix_(columns, own)] = weights[:size].reshape(-1, hidden)
        encoder_bias[own] = weights[size : size + hidden]
        decoder[np.ix_(own, columns)] = weights[size + hidden : 2 * size + hidden].reshape(-1, hidden).T
        decoder_bias[columns] = weights[2 * size + hidden :]
        member_of[columns, number] = 1
        first += hidden
    known, values = (tensors[f"codebook.{name}"].reshape(-1, width) for name in ("known", "values"))
    # The square difference from a prototype is linear in the row's squares, values and presence; 1/12 where the prototype has no value.
    against = np.concatenate([known, -2 * values, known * values**2 + (1 - known) / 12], axis=1).T
    levels, mix = tensors["levels"].reshape(-1, 2), settings["mix"]

    def net(batch):
        graph = Graph()
        number = lambda value: graph.constant(np.float32(value))
        axis = graph.constant([1], np.int64)

        def standardised(square, level):
            log = graph.add("Log", [graph.add("Max", [graph.add("Sqrt", [square]), number(1e-4)])])
            apart = graph.add("Div", [graph.add("Sub", [log, graph.constant(level[:, 0])]), graph.constant(level[:, 1])])
            return graph.add("Clip", [apart, number(-12), number(12)])

        missing = graph.add("IsNaN", ["rows"])
        there = graph.add("Cast", [graph.add("Not", [missing])], to=TensorProto.FLOAT)
        x = graph.add("Where", [missing, number(0), "rows"])
        centred = graph.add("Mul", [graph.add("Sub", [x, number(0.5)]), there])
        hidden = graph.add("Sigmoid", [graph.dense(centred, encoder, encoder_bias)])
        output = graph.add("Sigmoid", [graph.dense(hidden, decoder, decoder_bias)])
        apart = graph.add("Mul", [graph.add("Sub", [x, output]), there])
        squares = graph.add("MatMul", [graph.add("Mul", [apart, apart]), graph.constant(member_of)])
        counts = graph.add("MatMul", [there, graph.constant(member_of)])
        judged = graph.add("Cast", [graph.add("Greater", [counts, number(0.5)])], to=TensorProto.FLOAT)
        members = standardised(graph.add("Div", [squares, graph.add("Max", [counts, number(1)])]), levels[: len(clusters)])
        sums = [graph.add("ReduceSum", [part, axis], keepdims=1) for part in (graph.add("Mul", [members, judged]), judged, there)]
        described = graph.add("Concat", [graph.add("Mul", [x, x]), x, there], axis=1)
        nearest = graph.add("ReduceMin", [graph.add("MatMul", [described, graph.constant(against)])], axes=[1], keepdims=1)
        nearest = graph.add("Div", [graph.add("Max", [nearest, number(0)]), sums[2]])
        codebook = graph.add("Mul", [standardised(nearest, levels[-1:]), number(mix["codebook"])])
        mean = graph.add("Mul", [graph.add("Div", sums[:2]), number(mix["members"])])
        return graph.session({"rows": [batch, width]}, {graph.add("Add", [codebook, mean]): [batch, 1]})

    return [("whole", batch, net(batch), {"rows": inputs["rows"][:batch]}) for batch in (1, BATCH)], lambda scores: scores


KINDS = {"traffic-unsupervised": unsupervised, "traffic-": traffic, "vital-signs": vitals, "ecg-beats": ecg}


def main():
    parser = argparse.ArgumentParser(description="Times ONNX Runtime on a committed model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.5, help="about how long each measurement takes")
    arguments = parser.parse_args()
    tensors, metadata = read_tensors(arguments.folder / "model.safetensors")
    inputs, _ = read_tensors(arguments.folder / "inputs.safetensors")
    build = next((build for prefix, build in KINDS.items() if metadata["name"].startswith(prefix)), None)
    if build is None:
        sys.exit(f"onnx_peer.py: no graph is known for the model {metadata['name']}.")
    sessions, conclude = build(tensors, metadata["settings"], inputs)
    difference, timings = 0.0, []
    for graph, batch, session, feeds in sessions:
        outputs = conclude(session.run(None, {n: np.ascontiguousarray(v) for n, v in feeds.items()})[0])
        difference = max(difference, float(np.abs(outputs - inputs["outputs"][:batch]).max()))
        timings.append({"graph": graph, "batch": batch, **time_calls(session, feeds, arguments.seconds)})
    print(json.dumps({"runtime": f"onnxruntime {onnxruntime.__version__}", "difference": difference, "timings": timings}))


if __name__ == "__main__":
    main()
