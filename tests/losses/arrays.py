"""One array for each name that losses use, to call any of them with."""

import numpy as np

T, B, A, N, M, K, D = 5, 3, 4, 6, 7, 2, 2


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers that are all different, none of them 0."""
    return np.random.default_rng(seed).normal(size=shape)


def make_arrays(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """One array for each name that losses use, with these leading axes."""
    rng = np.random.default_rng(7)
    policy = rng.uniform(0.1, 1.0, size=(*shape, A))
    names = [
        "rewards",
        "values",
        "next_values",
        "log_ratios",
        "next_state_values",
        "advantages",
        "old_values",
        "targets",
    ]
    arrays = {name: draw(*shape, seed=i) for i, name in enumerate(names)}
    ends = np.zeros(shape, bool)
    ends[(2, *(0,) * (len(shape) - 1))] = True
    q_names = [
        "q_values",
        "next_q_values",
        "next_q_selector",
        "next_selector",
        "target_q_values",
        "policy_logits",
        "other_logits",
    ]
    arrays |= {name: draw(*shape, A, seed=20 + i) for i, name in enumerate(q_names)}
    return arrays | {
        "discounts": rng.uniform(0.5, 1.0, size=shape),
        "ends": ends,
        "log_probs": -np.abs(draw(*shape, seed=40)),
        "entropies": np.abs(draw(*shape, seed=41)),
        "kl": np.abs(draw(*shape, seed=42)),
        "next_log_probs": draw(*shape, seed=43),
        "actions": rng.integers(0, A, shape),
        "next_actions": rng.integers(0, A, shape),
        "next_probabilities": policy / policy.sum(-1, keepdims=True),
        "logits": draw(*shape, N, seed=44),
        "next_logits": draw(*shape, N, seed=45),
        "action_logits": draw(*shape, A, N, seed=46),
        "next_action_logits": draw(*shape, A, N, seed=47),
        "quantiles": draw(*shape, N, seed=48),
        "target_quantiles": draw(*shape, M, seed=49),
        "fractions": rng.uniform(size=(*shape, N)),
        "action_quantiles": draw(*shape, A, N, seed=50),
        "next_action_quantiles": draw(*shape, A, M, seed=51),
        "critics": draw(*shape, K, seed=52),
        "noise": draw(*shape, D, seed=53),
        "continuous_actions": draw(*shape, D, seed=54) / 4,
        "action_gradients": draw(*shape, D, seed=55),
        "probabilities": rng.uniform(0.1, 1.0, size=(*shape, N)),
        "drawn_probabilities": rng.uniform(0.1, 1.0, size=shape),
        "mask": np.arange(np.prod(shape)).reshape(shape) % 3 != 0,
        "weights": rng.uniform(0.1, 1.0, size=shape),
        "errors": draw(*shape, seed=56),
        "last": draw(*shape[1:], seed=57),
        "log_temperature": np.array(0.3),
        "temperature": np.array(0.6),
        "multiplier": np.array(0.6),
        "atoms": np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]),
        "target_atoms": np.array([-1.5, 0.2, 0.7, 2.0]),
    }
