"""The messages of wire.proto as Python classes, made from a checked-in descriptor.

A descriptor, not generated Python: generated code insists on the protobuf release that
made it, and a descriptor does not. The classes live in a pool of their own, so that
they never meet TensorFlow's or Reverb's messages in one process.

    python -m jaxrl_dist.replay.reverb.wire    # after wire.proto changed

writes wire.binpb anew; it needs grpcio-tools, which the extra `dev` brings.
"""

import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FOLDER = pathlib.Path(__file__).parent
DESCRIPTOR = FOLDER / "wire.binpb"
PACKAGE = "jaxrl_dist.reverb"
SERVICE = "/deepmind.reverb.ReverbService/"


def compile_descriptor(target: pathlib.Path) -> None:
    """Writes the descriptor of wire.proto.

    Args:
        target: the file to write.

    Raises:
        RuntimeError: the compiler refused wire.proto; its reasons are on stderr.
    """
    from grpc_tools import protoc  # a development tool, absent where this is installed

    arguments = ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}"]
    if protoc.main([*arguments, "wire.proto"]) != 0:
        raise RuntimeError("protoc refused wire.proto")


def _message_classes() -> dict[str, Any]:
    """The message classes of the descriptor, by name without package."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = [message.name for file in files.file for message in file.message_type]
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        )
        for name in names
    }


if __name__ == "__main__":
    compile_descriptor(DESCRIPTOR)
else:
    _MESSAGES = _message_classes()
    Chunk = _MESSAGES["Chunk"]
    CheckpointResponse = _MESSAGES["CheckpointResponse"]
    Empty = _MESSAGES["Empty"]
    FlatTrajectory = _MESSAGES["FlatTrajectory"]
    InsertRequest = _MESSAGES["InsertRequest"]
    InsertResponse = _MESSAGES["InsertResponse"]
    Item = _MESSAGES["Item"]
    MutateRequest = _MESSAGES["MutateRequest"]
    ResetRequest = _MESSAGES["ResetRequest"]
    SampleRequest = _MESSAGES["SampleRequest"]
    SampleResponse = _MESSAGES["SampleResponse"]
    SelectorOptions = _MESSAGES["SelectorOptions"]
    ServerInfoResponse = _MESSAGES["ServerInfoResponse"]
    StructuredValue = _MESSAGES["StructuredValue"]
    TableInfo = _MESSAGES["TableInfo"]
    Tensor = _MESSAGES["Tensor"]
    TensorShape = _MESSAGES["TensorShape"]
