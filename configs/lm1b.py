"""LM1B at the settings of MDLM (Sahoo et al. 2024, its released configuration).

  python -m jaxdiff.data prepare tfds:lm1b
  python train.py --config configs/lm1b.py --data.tokenizer tokenizer.json

128 tokens of bert-base-uncased, whose tokenizer.json is to be had from Hugging
Face: a sentence each, padded or cut. 12 layers of width 768, a million steps of
512: for many accelerators. Two things differ: MDLM undoes the spacing of the
set's tokens, and its noise is log-linear, whose bound is infinite without its
cut at t = 1; the bound does not depend on that choice.
"""

from jaxdiff.config import (
  Checkpoint,
  Config,
  Data,
  Diffusion,
  Network,
  Optimizer,
  Sampling,
  Training,
  Transformer,
)

config = Config(
  workdir='runs/lm1b',
  data=Data(name='tfds:lm1b', length=128, tokenizer='tokenizer.json'),
  diffusion=Diffusion(
    process='absorbing',
    schedule='linear',
    prediction='logits',
    times='continuous(1e-3)',
    positions='antithetic',
  ),
  network=Network(
    kind='transformer',
    transformer=Transformer(
      width=768,
      depth=12,
      num_heads=12,
      dropout=0.1,
      time=False,
      absolute=False,
    ),
    dtype='bfloat16',
    remat=True,
  ),
  optimizer=Optimizer(name='adamw', learning_rate=3e-4, warmup_steps=2500),
  training=Training(num_steps=1_000_000, batch_size=512, preview_every=10_000),
  sampling=Sampling(sampler='ancestral', steps=128, num=8),
  checkpoint=Checkpoint(every=5000, keep_every=100_000),
)
