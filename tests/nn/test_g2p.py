"""A pretrained model runs: g2p-en's GRU, rebuilt from nn, says words as its own code does.

Needs the wheel's checkpoint20.npz in $AUTODIFF_DATA or in its folder g2p_en; skipped without.
"""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("AUTODIFF_DATA") or "/nonexistent")
FOUND = [p for p in (DATA / "checkpoint20.npz", DATA / "g2p_en" / "checkpoint20.npz")
         if p.is_file()]
SAYS = {"gradient": "G R EY1 D IY0 AH0 N T", "jacobian": "Y AH0 K OW1 B IY0 AH0 N",
        "activationist": "AE2 K T IH0 V EY1 SH AH0 N IH0 S T", "o'neil": "OW0 N IY1 L"}


def example():
    spec = importlib.util.spec_from_file_location("g2p_example", ROOT / "examples" / "g2p.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_symbols():
    g2p = example()
    assert len(g2p.GRAPHEMES) == 29 and len(g2p.PHONEMES) == 74
    assert g2p.PHONEMES[4] == "AA0" and g2p.PHONEMES[-1] == "ZH"
    assert g2p.PHONEMES.index("UW") + 1 == g2p.PHONEMES.index("UW0")


@pytest.mark.skipif(not FOUND, reason="no g2p-en checkpoint20.npz in $AUTODIFF_DATA")
@pytest.mark.parametrize("word", SAYS)
def test_it_says(word):
    model = example().pretrained(FOUND[0])
    assert sum(p.size for p in model.parameters()) == 834_890
    assert " ".join(model(word)) == SAYS[word]
