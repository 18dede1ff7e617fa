"""The whole training state on disk: verified when read, never half written."""

from jaxrl_dist.checkpoints.files import DamagedCheckpointError
from jaxrl_dist.checkpoints.folder import CheckpointInfo, Checkpoints

__all__ = ["CheckpointInfo", "Checkpoints", "DamagedCheckpointError"]
