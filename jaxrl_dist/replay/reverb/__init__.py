"""A Reverb server of its own, and a client that needs no TensorFlow.

The server's environment is made by uv; see docs/reverb.md. It listens on all
interfaces and asks nobody who they are: keep it inside a network you trust.
"""

try:
    import cramjam as _cramjam  # noqa: F401 - only to say what is missing
    import google.protobuf as _protobuf  # noqa: F401
    import grpc as _grpc  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"jaxrl_dist.replay.reverb needs the extra `reverb` ({error.name} is missing): "
        "pip install 'jaxrl-dist[reverb]'"
    ) from error

from jaxrl_dist.replay.reverb.batches import DrawInfo
from jaxrl_dist.replay.reverb.chunking import WriterConfig
from jaxrl_dist.replay.reverb.client import Client
from jaxrl_dist.replay.reverb.connection_config import TLS, ConnectionConfig
from jaxrl_dist.replay.reverb.errors import (
    ClosedError,
    DeadlineError,
    ProtocolError,
    RefusedError,
    ReverbError,
    ServerError,
    SignatureError,
    TableError,
    TablesDifferError,
    UnavailableError,
)
from jaxrl_dist.replay.reverb.in_flight import InsertConfig, InsertMetrics
from jaxrl_dist.replay.reverb.info import ServerInfo, TableInfo
from jaxrl_dist.replay.reverb.priorities import PriorityMetrics, PriorityUpdater
from jaxrl_dist.replay.reverb.sample_stream import SamplerConfig
from jaxrl_dist.replay.reverb.sampler import (
    Sampler,
    SamplerMetrics,
    importance_weights,
)
from jaxrl_dist.replay.reverb.server import Server, ServerConfig
from jaxrl_dist.replay.reverb.signature import ColumnSpec, Signature
from jaxrl_dist.replay.reverb.tables import (
    RateLimiter,
    Selector,
    Table,
    load_tables,
    min_size,
    queue,
    samples_per_insert,
    save_tables,
    stack,
)
from jaxrl_dist.replay.reverb.writer import Writer

__all__ = [
    "TLS",
    "Client",
    "ClosedError",
    "ColumnSpec",
    "ConnectionConfig",
    "DeadlineError",
    "DrawInfo",
    "InsertConfig",
    "InsertMetrics",
    "PriorityMetrics",
    "PriorityUpdater",
    "ProtocolError",
    "RateLimiter",
    "RefusedError",
    "ReverbError",
    "Sampler",
    "SamplerConfig",
    "SamplerMetrics",
    "Selector",
    "Server",
    "ServerConfig",
    "ServerError",
    "ServerInfo",
    "Signature",
    "SignatureError",
    "Table",
    "TableError",
    "TableInfo",
    "TablesDifferError",
    "UnavailableError",
    "Writer",
    "WriterConfig",
    "importance_weights",
    "load_tables",
    "min_size",
    "queue",
    "samples_per_insert",
    "save_tables",
    "stack",
]
