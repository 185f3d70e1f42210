"""ADM on ImageNet at 64x64 by class (Dhariwal and Nichol 2021).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/adm_imagenet64.py

295,905,222 parameters, of which 768 embed a null label that theirs does not
have (table 11: 296 million). Hardware: README of openai/guided-diffusion names
none; not run here. Expected: FID 2.07 with 250 steps, not guided (table 5).
Settings: table 11, and README of openai/guided-diffusion.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/adm_imagenet64',
  data=c.Data(
    name='tfds:imagenet2012', image_size=64, downsampling='halved', flip=True
  ),
  condition=c.Condition(label=True, drop=0.0),
  diffusion=c.Gaussian(
    schedule='cosine_betas',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    loss='hybrid',
    variance='learned',
    times='grid',
    positions='independent',
  ),
  network=c.UNet(
    channels=192,
    channel_mults=(1, 2, 3, 4),
    num_res_blocks=3,
    attention_resolutions=(32, 16, 8),
    head_channels=64,
    dropout=0.1,
    scale_shift_norm=True,
    resblock_updown=True,
    norm_eps=1e-5,
    cosine_first=True,
    frequency_shift=0,
    dtype='bfloat16',
  ),
  optimizer=c.Optimizer(name='adamw', learning_rate=3e-4, clip_norm=None),
  training=c.Training(
    num_steps=540_000, batch_size=2048, log_every=100, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=250, times='linspace', num=16),
  checkpoint=c.Checkpoint(every=5000, keep_every=50_000),
)
