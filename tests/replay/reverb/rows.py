"""The rows and tables of the tests, and Reverb's own client in a process of its own."""

import base64
import json
import pathlib
import subprocess
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb import environment
from jaxrl_dist.types import ArrayTree

PEER = pathlib.Path(__file__).parent / "peer.py"
DTYPES = tuple(
    np.dtype(kind)
    for kind in (
        *(np.bool_, np.int8, np.int16, np.int32, np.int64),
        *(np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16),
    )
)


class Step(NamedTuple):
    """A row as agents have them: a NamedTuple of nested containers, some empty."""

    observation: ArrayTree
    reward: Any
    extras: ArrayTree = ()
    memory: ArrayTree = ()


def make_step(index: int) -> Step:
    """Row number `index`, each of its values telling which."""
    generator = np.random.default_rng(index)
    pixels = np.zeros((5, 4, 2), np.uint8)
    pixels[index % 5] = index % 251
    return Step(
        observation={"pixels": pixels, "goal": np.float32(index)},
        reward=np.float64(-index),
        extras=[np.int32(index), {"b": np.array([index, -index], np.int16)}],
        memory=(generator.normal(size=3).astype(np.float32),),
    )


def make_dtypes_row(index: int) -> dict[str, np.ndarray]:
    """Every dtype: a vector, a number and an empty array of each."""
    generator = np.random.default_rng(index)
    row = {}
    for dtype in DTYPES:
        raw = generator.integers(0, 256, 24, dtype=np.uint8)
        values = np.nan_to_num(raw % 2 == 1 if dtype == np.bool_ else raw.view(dtype))
        row[dtype.name] = values[:3]
        row[f"{dtype.name}_number"] = values[0]
        row[f"{dtype.name}_empty"] = np.zeros((0, 2), dtype)
    return row


def make_numpy_row(index: int) -> dict[str, np.ndarray]:
    """Every dtype that Reverb's own writer takes from numpy."""
    row = make_dtypes_row(index)
    return {name: row[name] for name in row if "bfloat16" not in name}


def make_bfloat16_row(index: int) -> dict[str, np.ndarray]:
    """The dtype that it takes from TensorFlow only."""
    return {"x": np.arange(index, index + 4).astype(ml_dtypes.bfloat16)}


TRANSITION = reverb.Signature.of_rows(make_step(0), 1)
SEQUENCE = reverb.Signature.of_rows(make_step(0), 5)
ALL_DTYPES = reverb.Signature.of_rows(make_dtypes_row(0), 3)
NUMPY_DTYPES = reverb.Signature.of_rows(make_numpy_row(0), 3)
BFLOAT16 = reverb.Signature.of_rows(make_bfloat16_row(0), 1)
NUMBER = reverb.Signature.of_rows({"x": np.int64(0)}, 1)
PRIORITIZED = reverb.Selector("prioritized", 0.5)

TABLES = (
    reverb.queue("transitions", 10_000, TRANSITION),
    reverb.queue("sequences", 10_000, SEQUENCE),
    reverb.queue("dtypes", 10_000, ALL_DTYPES),
    reverb.queue("numpy_dtypes", 10_000, NUMPY_DTYPES),
    reverb.queue("bfloat16", 10_000, BFLOAT16),
    reverb.queue("numbers", 100_000, NUMBER),
    reverb.queue("short_queue", 10, NUMBER),
    reverb.stack("stack", 100, NUMBER),
    reverb.Table("uniform", signature=NUMBER),
    reverb.Table("prioritized", PRIORITIZED, signature=NUMBER),
    reverb.Table("max_heap", reverb.Selector("max_heap"), signature=NUMBER),
    reverb.Table(
        "min_heap",
        reverb.Selector("min_heap"),
        reverb.Selector("min_heap"),
        max_size=5,
        signature=NUMBER,
    ),
    reverb.Table("thrice", max_times_sampled=3, signature=NUMBER),
    reverb.Table("unsigned", remover=reverb.Selector("lifo")),
    reverb.Table(
        "limited",
        signature=NUMBER,
        rate_limiter=reverb.samples_per_insert(
            4.0, min_size_to_sample=10, error_buffer=40.0
        ),
    ),
)


def encode_array(array: Any) -> list:
    array = np.asarray(array)
    content = base64.b64encode(array.tobytes()).decode()
    return [array.dtype.name, list(array.shape), content]


def decode_array(encoded: list) -> np.ndarray:
    name, shape, content = encoded
    (dtype,) = (dtype for dtype in DTYPES if dtype.name == name)
    return np.frombuffer(base64.b64decode(content), dtype).reshape(shape)


class Peer:
    """Reverb's own client in its own Python."""

    def __init__(self, address: str):
        self.process = subprocess.Popen(
            [environment.interpreter(), "-I", str(PEER), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment.server_variables(),
        )

    def run(self, do: str, **command: Any) -> Any:
        """Gives one command; its answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the peer could not {do}"
        return json.loads(answer)

    def write(
        self, table: str, signature: reverb.Signature, rows: list, **settings: Any
    ) -> None:
        """Lets it append rows and make items of them."""
        described = [describe_values(signature, row) for row in rows]
        defaults = {"period": 1, "chunk_length": 1, "delta_encoded": False}
        command = {"priority": 0.0} | defaults | settings
        self.run("write", table=table, rows=described, **command)

    def read(self, table: str, count: int) -> list[dict]:
        """Lets it draw items."""
        items = self.run("read", table=table, count=count)
        for item in items:
            item["columns"] = [decode_array(each) for each in item["columns"]]
        return items


def describe_values(signature: reverb.Signature, row: ArrayTree) -> dict:
    """A row as JSON, in the form of Signature.describe."""
    leaves = iter(signature.flatten(row))

    def fill(described: dict) -> dict:
        ((kind, content),) = described.items()
        if kind == "array":
            return {"array": encode_array(next(leaves))}
        if kind == "dict":
            parts = {name: fill(content[name]) for name in sorted(content)}
            return {"dict": parts}
        if kind == "namedtuple":
            fields = [[name, fill(part)] for name, part in content["fields"]]
            return {kind: {"name": content["name"], "fields": fields}}
        return {kind: [fill(part) for part in content]}

    return fill(signature.describe())
