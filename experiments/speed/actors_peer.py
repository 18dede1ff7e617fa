"""RLlib's IMPALA on CartPole-v1, for experiments.speed.actors; needs ray and torch.

One env runner with as many environments, the same network (two layers of 64) and the
same batch as ours; sampled steps per second once it is under way.
"""

import argparse
import json
import time

import ray
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

SECONDS = 30.0


def main() -> None:
    """Measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-runners", type=int, default=1)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--batch-steps", type=int, default=1280)
    parsed = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    config = (
        IMPALAConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=parsed.env_runners,
            num_envs_per_env_runner=parsed.num_envs,
            rollout_fragment_length=20,
        )
        .learners(num_learners=0)
        .training(train_batch_size_per_learner=parsed.batch_steps, lr=1e-3)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64]))
    )
    algorithm = config.build_algo()
    first, patience = 0.0, time.perf_counter() + 4 * SECONDS
    while not first:  # nothing has been reported yet
        if time.perf_counter() > patience:
            raise TimeoutError("no environment steps were reported")
        first = steps_of(algorithm.train())
    began = time.perf_counter()
    last = first
    while time.perf_counter() - began < SECONDS:
        last = steps_of(algorithm.train())
    seconds = time.perf_counter() - began
    algorithm.stop()
    rate = round((last - first) / seconds)
    print(json.dumps({"peer": f"RLlib {ray.__version__}", "steps_per_second": rate}))


def steps_of(result: dict) -> float:
    """Environment steps so far."""
    return result["env_runners"].get("num_env_steps_sampled_lifetime", 0.0)


if __name__ == "__main__":
    main()
