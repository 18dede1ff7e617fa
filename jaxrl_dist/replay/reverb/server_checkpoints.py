"""The checkpoints of a server: kept with digests, newest first, damage told.

Used in the server's environment, by server_script.py; only the standard library.
Reverb writes its checkpoints to FOLDER/incoming and keeps only the newest there. Each
complete one is linked to FOLDER/checkpoint-NNNNNN with digests of its files.
"""

import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import threading
import zlib

LOG = logging.getLogger("server")
BLOCK_BYTES = 1 << 20


def file_digest(path: pathlib.Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole_zlib_stream(path: pathlib.Path) -> bool:
    """Whether a file is one complete zlib stream, as Reverb writes its records."""
    stream = zlib.decompressobj()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                while block:
                    stream.decompress(block, BLOCK_BYTES)
                    block = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


class Checkpoints:
    """The checkpoints of one server, the newest `keep` of them.

    Attributes:
        folder: where they are kept.
        keep: how many, from 1.
    """

    NAME = re.compile(r"checkpoint-(\d+)$")

    def __init__(self, folder: pathlib.Path, keep: int):
        self.folder = folder
        self.keep = keep
        self.incoming = folder / "incoming"
        self._lock = threading.Lock()
        self.incoming.mkdir(parents=True, exist_ok=True)

    def kept(self) -> list[pathlib.Path]:
        """What is kept, newest first."""
        found = [path for path in self.folder.iterdir() if self.NAME.match(path.name)]
        return sorted(found, reverse=True)

    def take_in(self) -> None:
        """Keeps each complete checkpoint that Reverb wrote since the last call."""
        with self._lock:
            known = {self._origin(path) for path in self.kept()}
            for path in sorted(self.incoming.iterdir()):
                if path.name not in known and (path / "DONE").exists():
                    self._link(path)
            for path in self.kept()[self.keep :]:
                shutil.rmtree(path, ignore_errors=True)

    def _link(self, source: pathlib.Path) -> None:
        newest = self.kept()[:1]
        number = int(newest[0].name.rpartition("-")[2]) + 1 if newest else 1
        target = self.folder / f"checkpoint-{number:06d}"
        partial = self.folder / f"partial-{number:06d}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(source, partial, copy_function=os.link)
        except (OSError, shutil.Error):
            return  # a newer checkpoint has replaced it meanwhile
        digests = {file.name: file_digest(file) for file in sorted(partial.iterdir())}
        manifest = json.dumps({"origin": source.name, "digests": digests})
        (partial / "manifest.json").write_text(manifest)
        partial.rename(target)
        LOG.info("kept %s as %s", source.name, target.name)

    def _manifest(self, path: pathlib.Path) -> dict:
        try:
            return json.loads((path / "manifest.json").read_text())
        except (OSError, ValueError):
            return {}

    def _origin(self, path: pathlib.Path) -> str:
        return self._manifest(path).get("origin", "")

    def check(self, path: pathlib.Path) -> None:
        """Checks a kept checkpoint against its digests.

        Raises:
            ValueError: a file is missing or not as it was written.
        """
        manifest = self._manifest(path)
        if not manifest:
            raise ValueError("it has no readable manifest")
        for name, digest in manifest["digests"].items():
            if not (path / name).exists():
                raise ValueError(f"{name} is missing")
            if file_digest(path / name) != digest:
                raise ValueError(f"{name} is not as it was written")

    def recover_incoming(self) -> None:
        """Sorts out what a killed server left: keeps what is whole, drops the rest."""
        for path in sorted(self.incoming.iterdir()):
            records = sorted(path.glob("*.tfrecord"))
            whole = records and all(is_whole_zlib_stream(file) for file in records)
            if not (path / "DONE").exists() or not whole:
                LOG.warning("dropped %s: it was not written to its end", path.name)
                shutil.rmtree(path)
        self.take_in()

    def offer(self, path: pathlib.Path | None) -> None:
        """Makes one kept checkpoint, or none, the only one that Reverb finds."""
        shutil.rmtree(self.incoming)
        self.incoming.mkdir()
        if path is not None:
            shutil.copytree(path, self.incoming / self._origin(path))
