"""Where metrics go: the terminal, JSON lines, TensorBoard."""

from jaxrl_dist.loggers.base import Logger, Many, Metrics
from jaxrl_dist.loggers.json_lines import JsonLines
from jaxrl_dist.loggers.tensorboard import TensorBoard
from jaxrl_dist.loggers.terminal import Terminal

__all__ = ["JsonLines", "Logger", "Many", "Metrics", "TensorBoard", "Terminal"]
