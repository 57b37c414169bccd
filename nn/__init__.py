"""nn: models on top of the engine: modules, layers, losses, optimizers, data, files.

Plain Python over `autodiff`'s operations, without a hand-written backward.  Invariant: names,
defaults and state_dict keys are PyTorch's, so a model ports by changing its imports.
"""

import sys as _sys

from . import data, functional, init, metrics, optim, utils
from .activation import (
    ELU,
    GELU,
    GLU,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .attention import MultiheadAttention
from .callbacks import BestCheckpoint, Callback, EarlyStopping
from .checkpoint_files import load_checkpoint, save_checkpoint
from .checkpointing import (
    ChainError,
    Checkpointed,
    MemoryBudgetError,
    checkpoint_sequential,
    measure_chain,
)
from .containers import Flatten, ModuleDict, ModuleList, ParameterList, Sequential, Unflatten
from .conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .dropout import Dropout
from .embedding import Embedding
from .errors import FileFormatError, LabelError, ModuleError, StateDictError
from .files import load, save
from .history import History
from .linear import Linear
from .loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
)
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from .padding import (
    ConstantPad1d,
    ConstantPad2d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    Upsample,
    ZeroPad1d,
    ZeroPad2d,
)
from .parameter import Parameter
from .pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
)
from .recurrent import GRU, LSTM, RNN
from .recurrent_cells import GRUCell, LSTMCell, RNNCell
from .trainer import Trainer
from .training_errors import BatchError, EmptyLoaderError, NonFiniteLossError
from .freeze import FrozenError, freeze
from .generate import generate
from .inference import predict
from .gpt import GPT, KeyValueCache
from .protection import protect as _protect
from .public import public as _public
from .summary import summary
from .transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = _public(globals(), "data", "functional", "init", "metrics", "optim", "utils")

_protect(_sys.modules[__name__], optim, optim.swa_utils)
