"""LM1B at the settings of MDLM (Sahoo et al. 2024, its released configuration).

  python -m jaxdiff.data prepare tfds:lm1b
  python train.py --config configs/lm1b.py --data.tokenizer tokenizer.json

An example is one sentence of 128 tokens, padded or truncated. The tokenizer is
that of bert-base-uncased, whose tokenizer.json is on Hugging Face. 12 layers of
width 768, a million steps of 512: for many accelerators; not run here.
Expected: perplexity at most 27.04 after 33 billion tokens (table 1). What
differs: MDLM undoes the spacing of the set's tokens. Its noise is log-linear,
whose bound is infinite without its cut at t = 1; the bound does not depend on
that choice. It masks the padding too, and attends to it; the loss counts
neither. Its network has a modulation by a time that is always 0, 139,292,986
parameters in all, and ours none: 131,942,203. Its embedding starts 48 times
smaller, and its attention's output and norms have no bias. All tokens of a
batch weigh the same, as there; 28 is about the length of a sentence.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/lm1b',
  data=c.Data(name='tfds:lm1b', length=128, tokenizer='tokenizer.json'),
  diffusion=c.Categorical(
    process='absorbing',
    schedule='linear',
    prediction='logits',
    times='continuous(1e-3)',
    loss='nelbo(length=28)',
    positions='stratified',
  ),
  network=c.Transformer(
    width=768,
    depth=12,
    num_heads=12,
    dropout=0.1,
    time=False,
    absolute=False,
    dtype='bfloat16',
    remat=True,
  ),
  optimizer=c.Optimizer(name='adamw', learning_rate=3e-4, warmup_steps=2500),
  training=c.Training(
    num_steps=1_000_000, batch_size=512, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=128, num=8),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
