"""The trainer: it knows a loss function and a parameter tree, and no model."""

from efficient_attn.training.checkpoints import CheckpointError, Checkpoints, Keep
from efficient_attn.training.curve import draw_curve
from efficient_attn.training.ema import EMA
from efficient_attn.training.loop import Program, TrainOptions, fit
from efficient_attn.training.loss_scale import DynamicLossScale, LossScale
from efficient_attn.training.objective import Mean, Objective, ratio
from efficient_attn.training.optimizers import SGD, Adafactor, Adagrad, AdamW, Optimizer, chain, matrices
from efficient_attn.training.profiling import Profile
from efficient_attn.training.schedules import Constant, Cosine, Drop, InverseSquareRoot, Linear, Polynomial, Schedule
from efficient_attn.training.sharding import Placement, make_mesh
from efficient_attn.training.state import TrainState
from efficient_attn.training.step import StepOptions, make_eval_step, make_train_step
from efficient_attn.training.stopping import NonFinite, Stopped
from efficient_attn.training.workdir import check_workdir

__all__ = [
    "EMA",
    "SGD",
    "Adafactor",
    "Adagrad",
    "AdamW",
    "CheckpointError",
    "Checkpoints",
    "Constant",
    "Cosine",
    "Drop",
    "DynamicLossScale",
    "InverseSquareRoot",
    "Keep",
    "Linear",
    "LossScale",
    "Mean",
    "NonFinite",
    "Objective",
    "Optimizer",
    "Placement",
    "Polynomial",
    "Profile",
    "Program",
    "Schedule",
    "StepOptions",
    "Stopped",
    "TrainOptions",
    "TrainState",
    "chain",
    "check_workdir",
    "draw_curve",
    "fit",
    "make_eval_step",
    "make_mesh",
    "make_train_step",
    "matrices",
    "ratio",
]
