"""Settings of a connection: deadlines, limits, encryption."""

import dataclasses
import pathlib

import grpc

from jaxrl_dist.checks import check_above, check_at_least


@dataclasses.dataclass(frozen=True)
class TLS:
    """Encryption towards a proxy in front of the server, which itself has none.

    Attributes:
        ca_certificate: PEM file of the authority to trust; None for the system's.
        certificate: PEM file of the client's own certificate, if the proxy wants one.
        key: PEM file of its private key.
        server_name: name in the server's certificate, if the address has another.
    """

    ca_certificate: pathlib.Path | str | None = None
    certificate: pathlib.Path | str | None = None
    key: pathlib.Path | str | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            OSError: one cannot be read.
        """
        files = (self.ca_certificate, self.key, self.certificate)
        contents = [pathlib.Path(file).read_bytes() if file else None for file in files]
        return grpc.ssl_channel_credentials(*contents)


@dataclasses.dataclass(frozen=True)
class ConnectionConfig:
    """Settings of a connection.

    Attributes:
        timeout_seconds: deadline of each call that is not given one, above 0.
        max_message_bytes: larger messages are refused, from 1 MiB; a message holds at
            least one whole chunk.
        first_pause_seconds: before the first attempt to reach a lost server, above 0;
            doubled after each.
        longest_pause_seconds: between attempts, above 0.
        tls: encryption; None for none.
    """

    timeout_seconds: float = 30.0
    max_message_bytes: int = 512 << 20
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0
    tls: TLS | None = None

    def __post_init__(self) -> None:
        check_above(
            0,
            timeout_seconds=self.timeout_seconds,
            first_pause_seconds=self.first_pause_seconds,
            longest_pause_seconds=self.longest_pause_seconds,
        )
        check_at_least(1 << 20, max_message_bytes=self.max_message_bytes)
