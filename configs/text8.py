"""text8 at the settings of MD4 (Shi et al. 2024, its released configuration).

  python train.py --config configs/text8.py --data.name text:text8

256 characters of a-z and space, masked. 12 layers of width 768, a million steps
of 512: for many accelerators; not run here. Expected: at most 1.37 bits/
character (Shi et al. 2024). The file is the published one of
100,000,000 characters, cut into 90, 5 and 5 million. MD4 has a gated MLP. Ours
has none, and 92,413,724 parameters, as in SEDD and MDLM.
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
    absolute=False,
    dtype='bfloat16',
    remat=True,
  ),
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=3e-4,
    schedule='cosine',
    warmup_steps=2000,
    clip_norm=None,
  ),
  training=c.Training(
    num_steps=1_000_000, batch_size=512, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=256, num=8),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
