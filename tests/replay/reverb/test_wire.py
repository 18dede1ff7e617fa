"""The checked-in descriptor is what the compiler makes of wire.proto."""

from google.protobuf import descriptor_pb2

from jaxrl_dist.replay.reverb import wire


def test_the_descriptor_is_that_of_the_proto_file(tmp_path):
    wire.compile_descriptor(tmp_path / "new")
    new, old = (
        descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
        for path in (tmp_path / "new", wire.DESCRIPTOR)
    )
    assert new == old
