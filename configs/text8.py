"""text8 at the settings of MD4 (Shi et al. 2024, its released configuration).

  python train.py --config configs/text8.py --data.name text:text8

256 characters of a-z and space, masked. 12 layers of width 768, a million steps
of 512: for many accelerators; not run here. Expected: at most 1.37 bits/
character (Shi et al. 2024). The file is the published one of
100,000,000 characters, cut into 90, 5 and 5 million. Settings: the sweep in
md4/configs/md4/text8.py of google-deepmind/md4. MD4 has a gated MLP, narrower
embeddings of characters and of time, and no biases behind them. Ours has
92,413,724 parameters.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/text8',
  data=c.Data(name='text:text8', length=256),
  diffusion=c.Categorical(
    process='absorbing',
    schedule='linear',
    prediction='logits',
    positions='antithetic',
  ),
  network=c.Transformer(
    width=768,
    depth=12,
    num_heads=12,
    dropout=0.05,
    absolute=False,
    remat=True,
  ),
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=5e-4,
    schedule='cosine',
    warmup_steps=2000,
    clip_norm=None,
    weight_decay=0.03,
  ),
  training=c.Training(
    num_steps=1_000_000, batch_size=512, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='greedy_tail', steps=1000, times='cosine', num=8),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
