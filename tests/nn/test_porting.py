"""PyTorch's keywords: taken where they ask for nothing, refused by name where they would count."""

import pytest

import autodiff as ad
import nn
import nn.data
from nn import functional as F
from nn.porting import FOREIGN

X = ad.ones((2, 3))
IMAGE = ad.ones((1, 2, 4, 4))


def weights():
    return [nn.Parameter(ad.ones((3,)))]


TAKEN = [
    lambda: nn.Linear(3, 4, device="cpu", dtype="float64"), lambda: nn.Linear(3, 4, device=None),
    lambda: nn.ReLU(inplace=True)(X), lambda: F.dropout(X, 0.5, True, inplace=True),
    lambda: nn.Embedding(3, 4, sparse=False, max_norm=None), lambda: nn.LSTM(3, 4, proj_size=0),
    lambda: nn.MaxPool2d(2, return_indices=False)(IMAGE),
    lambda: nn.CrossEntropyLoss(size_average=None, reduce=None),
    lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1, enable_nested_tensor=True),
    lambda: nn.optim.Adam(weights(), lr=0.1, fused=True, foreach=False),
    lambda: nn.data.DataLoader([1.0, 2.0], batch_size=2, num_workers=0, pin_memory=True),
    lambda: nn.Linear(3, 4).to("cpu").to(device="cpu").to("float64").to(dtype=ad.float32),
    lambda: F.softmax(X, dim=1, dtype=ad.float64), lambda: F.interpolate(IMAGE, scale_factor=2),
]
REFUSED = [
    (lambda: nn.Linear(3, 4, device="cuda"), "Linear: device='cuda' is not supported: every"),
    (lambda: nn.MaxPool2d(2, return_indices=True), "the places of the maxima are not given"),
    (lambda: nn.Embedding(3, 4, max_norm=1.0), "Embedding: max_norm=1.0 is not supported"),
    (lambda: nn.LSTM(3, 4, proj_size=2), "put a Linear after the layer"),
    (lambda: nn.MSELoss(size_average=False), "use reduction='mean' or 'sum'"),
    (lambda: F.cross_entropy(X, ad.tensor([0, 1]), reduce=False), "reduction='none'"),
    (lambda: nn.data.DataLoader([1.0], num_workers=4), "prefetch=2"),
    (lambda: nn.optim.Adam(weights(), capturable=True), "no graph to capture"),
    (lambda: nn.optim.swa_utils.AveragedModel(nn.ReLU(), multi_avg_fn=max), "get_ema_avg_fn"),
    (lambda: nn.Linear(3, 4, biass=True), "unexpected keyword argument 'biass'; the signature is"),
    (lambda: nn.Linear(3, 4).to("cuda"), "computed on the CPU"),
    (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "'reflect' or 'replicate'"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "must be 'zeros'"),
]


@pytest.mark.parametrize("call", TAKEN)
def test_taken(call):
    call()


@pytest.mark.parametrize("call,says", REFUSED)
def test_refused(call, says):
    with pytest.raises(ad.errors.ArgumentError) as caught:
        call()
    assert says in str(caught.value)


def test_methods_that_are_left_out_say_why():
    for name in ("cuda", "half", "register_forward_hook"):
        with pytest.raises(nn.ModuleError, match=f"no attribute '{name}'; "):
            getattr(nn.ReLU(), name)


def test_the_table_never_takes_what_counts():
    """A keyword that is always taken changes nothing but speed."""
    always = {name for name, (harmless, advice) in FOREIGN.items() if not advice}
    assert always == {"enable_nested_tensor", "mask_check", "foreach", "fused", "pin_memory",
                      "pin_memory_device", "persistent_workers", "timeout", "_stacklevel"}
