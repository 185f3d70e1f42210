"""What a run leaves in its workdir: checkpoints, and its configuration."""

from jaxdiff.runs.store import Checkpoints, DamagedCheckpointError

__all__ = ['Checkpoints', 'DamagedCheckpointError']
