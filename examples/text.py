"""Generate text: a small GPT over the characters of eight plays by Shakespeare.

    python examples/text.py                      # 1 to 2 minutes: 1.76 nats a character
    python examples/text.py --steps 5000 --large # 0.8 million parameters, long
"""

import argparse

import autodiff as ad
import nn
import nn.data
import nn.functional as F
from nn.metrics import Perplexity


def loss(logits, y):
    """Mean cross-entropy of the next character, in nats; logits (N, T, V), y (N, T)."""
    return F.cross_entropy(logits.reshape((-1, logits.shape[-1])), y.reshape((-1,)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--large", action="store_true", help="4 layers of width 128, 128 long")
    parser.add_argument("--prompt", default="ROMEO")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--checkpoint", help="file to keep the run in; it goes on from there")
    parser.add_argument("--plot", help="write the curves to this file")
    args = parser.parse_args()

    ad.manual_seed(0)
    block, layers, width, lr = (128, 4, 128, 3e-3) if args.large else (64, 2, 96, 4e-3)
    data = nn.data.text(block=block)
    vocabulary = data.vocabulary
    model = nn.GPT(len(vocabulary), block, layers, width, heads=4)

    # An "epoch" is a number of steps here, on windows drawn at random.
    batch, epochs = 16, 20 if args.large else 10
    steps = -(-args.steps // epochs)
    drawn = nn.data.RandomSampler(data.train, replacement=True, num_samples=steps * batch, seed=0)
    train = nn.data.DataLoader(data.train, batch_size=batch, sampler=drawn)
    some = nn.data.CharDataset(data.validation.tokens[:16385], block, stride=block)

    optimizer = nn.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = nn.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, pct_start=0.05,
                                                total_steps=steps * epochs + 1)
    trainer = nn.Trainer(model, loss, optimizer, schedule=schedule, schedule_by="step",
                         metrics=[Perplexity()], clip_norm=1.0, checkpoint=args.checkpoint)
    print(f"{sum(p.size for p in model.parameters()):,} parameters, {steps * epochs} steps")
    history = trainer.fit(train, some, epochs, resume=args.checkpoint is not None)
    if args.plot:
        history.plot(args.plot, x="steps")
    whole = nn.data.CharDataset(data.validation.tokens, block, stride=block)
    print(f"whole validation part: {trainer.evaluate(whole)['loss']:.3f} nats a character\n")

    ids = nn.generate(nn.freeze(model), vocabulary.encode(args.prompt), 400, seed=0,
                      temperature=args.temperature, top_p=args.top_p)
    print(vocabulary.decode(ids))


if __name__ == "__main__":
    main()
