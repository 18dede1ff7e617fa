"""Settings of the actor-learner runtime."""

import dataclasses

from jaxrl_dist.checks import check_above, check_at_least, check_in_range


@dataclasses.dataclass(frozen=True)
class ActorsConfig:
    """Settings of the runtime of actor processes, a Reverb server and a learner.

    Attributes:
        num_actors: processes that act, over which environment.num_envs is spread, from
            1.
        rollout_steps: steps of each environment between two looks for newer parameters,
            and of each trajectory that is learnt from whole, from 1.
        num_devices: of the learner, over which its batches are spread, from 1.
        lock_step: actors wait for the parameters of each update, and it for a rollout
            of all of them, so that the run can be repeated; replay is then the
            learner's own. None: for the agents that learn from their newest policy only
            (PPO, A2C, PQN).
        batch_trajectories: new trajectories in one update of an agent that learns from
            whole ones, from 1; None for as many as there are environments.
        queue_batches: so many times these may wait for the learner, from 1.
        replayed_share: of each update, old trajectories that are drawn besides, in
            [0, 1); more than 0 is for IMPALA.
        replayed_trajectories: old ones that are kept, from 1.
        limiter_batches: batches by which drawing and inserting may run apart, above 0.
        publish_period_updates: updates between two publications of the parameters, from
            1.
        fetch_seconds: between an actor's looks for newer parameters, above 0.
        bfloat16_parameters: parameters travel in half the bytes, and actors act with
            what is left of them.
        max_waiting_rollouts: rollouts that an actor has sent and that are not yet in
            their table, before it waits, from 1.
        port: of the Reverb server, 1 to 65535; None for a free one.
        server_checkpoint_seconds: between two checkpoints of the Reverb server, above
            0; one more is written when the run ends or is interrupted.
        timeout_seconds: how long a process waits for another one before it gives up,
            above 0.
        heartbeat_seconds: without a sign of life, after which a process that was at
            work is killed and another takes its place, above 0; the evaluator, which
            gives none while it plays, has ten times as long.

    Raises:
        ValueError: a setting is out of its range, or two do not go together.
    """

    num_actors: int = 2
    rollout_steps: int = 20
    num_devices: int = 1
    lock_step: bool | None = None
    batch_trajectories: int | None = None
    queue_batches: int = 1
    replayed_share: float = 0.0
    replayed_trajectories: int = 1_000
    limiter_batches: float = 10.0
    publish_period_updates: int = 1
    fetch_seconds: float = 0.02
    bfloat16_parameters: bool = False
    max_waiting_rollouts: int = 2
    port: int | None = None
    server_checkpoint_seconds: float = 300.0
    timeout_seconds: float = 300.0
    heartbeat_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_at_least(
            1,
            num_actors=self.num_actors,
            rollout_steps=self.rollout_steps,
            num_devices=self.num_devices,
            queue_batches=self.queue_batches,
            replayed_trajectories=self.replayed_trajectories,
            publish_period_updates=self.publish_period_updates,
            max_waiting_rollouts=self.max_waiting_rollouts,
        )
        check_above(
            0,
            limiter_batches=self.limiter_batches,
            fetch_seconds=self.fetch_seconds,
            server_checkpoint_seconds=self.server_checkpoint_seconds,
            timeout_seconds=self.timeout_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
        )
        if self.batch_trajectories is not None:
            check_at_least(1, batch_trajectories=self.batch_trajectories)
        if self.port is not None:
            check_in_range(1, 65535, port=self.port)
        if not 0 <= self.replayed_share < 1:
            raise ValueError(
                f"replayed_share must be in [0, 1), got {self.replayed_share}"
            )
        if self.lock_step:
            self._check_lock_step()

    def _check_lock_step(self) -> None:
        others = {
            "batch_trajectories": self.batch_trajectories is not None,
            "replayed_share": self.replayed_share > 0,
            "publish_period_updates": self.publish_period_updates > 1,
        }
        given = [name for name, is_set in others.items() if is_set]
        if given:
            raise ValueError(
                f"lock_step decides {given[0]}: leave it at its default, or set "
                "lock_step False"
            )

    @property
    def replayed_per_new(self) -> float:
        """Old trajectories for each new one."""
        return self.replayed_share / (1 - self.replayed_share)

    @property
    def policy_lag_updates(self) -> int:
        """Updates by which acting is held back on purpose: none."""
        return 0
