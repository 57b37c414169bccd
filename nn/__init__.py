"""nn: models on top of the engine: modules, layers, losses, optimizers, data, files.

Plain Python over `autodiff`'s operations, without a hand-written backward.  Invariant: names,
defaults and state_dict keys are PyTorch's, so a model ports by changing its imports.
"""

from . import functional, init, metrics, optim
from .activation import GELU, Identity, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .attention import MultiheadAttention
from .callbacks import BestCheckpoint, Callback, EarlyStopping
from .checkpoint_files import load_checkpoint, save_checkpoint
from .containers import Flatten, ModuleDict, ModuleList, Sequential, Unflatten
from .conv import Conv2d
from .dropout import Dropout
from .embedding import Embedding
from .errors import FileFormatError, ModuleError, StateDictError
from .files import load, save
from .freeze import FrozenError, freeze, predict
from .generate import generate
from .gpt import GPT, KeyValueCache
from .history import History
from .linear import Linear
from .loss import CrossEntropyLoss, L1Loss, MSELoss
from .module import Module
from .norm import BatchNorm2d, LayerNorm
from .parameter import Parameter
from .pooling import AvgPool2d, MaxPool2d
from .recurrent import GRU, LSTM, RNN
from .recurrent_cells import GRUCell, LSTMCell, RNNCell
from .summary import summary
from .trainer import Trainer
from .training_errors import EmptyLoaderError, LabelError, NonFiniteLossError

__all__ = [
    "AvgPool2d", "BatchNorm2d", "BestCheckpoint", "Callback", "Conv2d", "CrossEntropyLoss",
    "Dropout", "EarlyStopping", "Embedding", "EmptyLoaderError", "FileFormatError", "Flatten",
    "FrozenError", "GELU", "GPT", "GRU", "GRUCell", "History", "Identity", "KeyValueCache",
    "L1Loss", "LSTM", "LSTMCell", "LabelError", "LayerNorm", "Linear", "LogSoftmax", "MSELoss",
    "MaxPool2d", "Module", "ModuleDict", "ModuleError", "ModuleList", "MultiheadAttention",
    "NonFiniteLossError", "Parameter", "RNN", "RNNCell", "ReLU", "Sequential", "SiLU", "Sigmoid",
    "Softmax", "StateDictError", "Tanh", "Trainer", "Unflatten", "freeze", "functional", "generate",
    "init", "load", "load_checkpoint", "metrics", "optim", "predict", "save", "save_checkpoint",
    "summary",
]
