"""D3PM on text8 with absorbing noise (Austin et al. 2021).

  python train.py --config configs/papers/d3pm_text8_absorbing.py

--data.name is the published file of 100,000,000 characters. 92,413,724
parameters. Hardware: the authors' is not known; not run here. Expected: at most
1.45 bits/character with 1000 steps, 1.56 with 20 (table 1). Settings:
d3pm/text/configs.py of google-research/google-research (text8_base); a million
steps of 512 as in the paper's appendix, which was not seen. Its transformer is
T5's: relative positions, RMS norms, no biases, and time added to the tokens by
a table. Its auxiliary loss counts all characters, ours the masked ones.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/d3pm_text8_absorbing',
  data=c.Data(name='text:text8', length=256),
  diffusion=c.Categorical(
    process='absorbing',
    schedule='linear',
    num_steps=1000,
    # The auxiliary loss: 0.01 beside one of 1000 terms.
    loss='variational(cross_entropy_weight=10.0)',
    positions='independent',
  ),
  network=c.Transformer(width=768, depth=12, num_heads=12, absolute=False),
  # Its loss is a sum over 256 characters of one term of 1000, ours a mean over
  # the characters of 1000 terms.
  optimizer=c.Optimizer(
    name='adam',
    learning_rate=2e-4,
    warmup_steps=5000,
    clip_norm=0.25 * 1000 / 256,
  ),
  training=c.Training(
    num_steps=1_000_000,
    batch_size=512,
    ema_decay=0.0,
    log_every=100,
    preview_every=10_000,
  ),
  sampling=c.Sampling(sampler='greedy_tail', steps=1000, num=8),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
