"""A model that someone else trained: spelling to sound, the GRU of PyPI's g2p-en.

    pip download --no-deps g2p-en && unzip -d g2p g2p_en-*.whl
    python examples/g2p.py g2p/g2p_en/checkpoint20.npz gradient     # G R EY1 D IY0 AH0 N T

The weights are Apache-2.0, by Kyubyong Park and Jongseok Kim.
"""

import argparse

import numpy as np

import autodiff as ad
import nn

GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
# Sorted, each vowel in its three stresses, and UW also without one: the order of the weights.
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>",
            *sorted([v + s for v in VOWELS.split() for s in "012"] + CONSONANTS.split() + ["UW"])]


class G2P(nn.Module):
    """The letters of a word go through one GRU, whose last state a second one spells out."""

    def __init__(self, width=256):
        super().__init__()
        self.letters, self.sounds = (nn.Embedding(len(names), width)
                                     for names in (GRAPHEMES, PHONEMES))
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRUCell(width, width)
        self.head = nn.Linear(width, len(PHONEMES))

    def forward(self, word, most=20):
        """The phonemes of one word, each the likeliest after the ones before."""
        known = {letter: k for k, letter in enumerate(GRAPHEMES)}
        ids = [known.get(letter, known["<unk>"]) for letter in [*word.lower(), "</s>"]]
        _, h = self.encoder(self.letters(ad.tensor([ids])))
        h, found, last = h[0], [], PHONEMES.index("<s>")
        for _ in range(most):
            h = self.decoder(self.sounds(ad.tensor([last])), h)
            last = int(self.head(h).numpy().argmax())
            if PHONEMES[last] == "</s>":
                break
            found.append(PHONEMES[last])
        return found


def pretrained(path):
    """The model with the weights of a checkpoint20.npz, read-only."""
    names = {"letters.weight": "enc_emb", "sounds.weight": "dec_emb", "head.weight": "fc_w",
             "head.bias": "fc_b"}
    for k in ("w_ih", "w_hh", "b_ih", "b_hh"):
        long = k.replace("w_", "weight_").replace("b_", "bias_")
        names |= {f"encoder.{long}_l0": f"enc_{k}", f"decoder.{long}": f"dec_{k}"}
    model = G2P()
    with np.load(path, allow_pickle=False) as weights:
        model.load_state_dict({own: weights[theirs] for own, theirs in names.items()})
    return nn.freeze(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="checkpoint20.npz from the g2p-en wheel")
    parser.add_argument("words", nargs="*", default=["gradient"])
    args = parser.parse_args()
    model = pretrained(args.checkpoint)
    for word in args.words or ["gradient"]:
        print(f"{word}: {' '.join(model(word))}")


if __name__ == "__main__":
    main()
