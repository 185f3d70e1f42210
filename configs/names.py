"""A file of lines, such as names, each as long as it is, by masked diffusion.

python train.py --config configs/names.py --data.name lines:names.txt
python -m jaxdiff.evaluation text runs/names
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
  workdir='runs/names',
  data=Data(name='lines:names.txt'),
  diffusion=Diffusion(
    process='absorbing', schedule='linear', prediction='logits'
  ),
  network=Network(
    kind='transformer',
    transformer=Transformer(width=128, depth=4, num_heads=4, time=False),
  ),
  optimizer=Optimizer(learning_rate=1e-3, schedule='cosine', warmup_steps=100),
  training=Training(
    num_steps=3000, batch_size=128, ema_decay=0.999, preview_every=1000
  ),
  sampling=Sampling(sampler='ancestral', steps=32),
  checkpoint=Checkpoint(every=500),
)
