"""JiT-B/16 on pixels of ImageNet at 256x256 (Li and He 2025).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/jit_b16_imagenet256.py
  python sample.py runs/jit_b16_imagenet256 --labels 207,360 --scale 2.9

131,123,712 parameters (table 6: 131 million). Hardware: the authors' script is
for 8 H200; not run here. Expected: FID 3.66 guided, after 600 epochs, and 4.37
after 200 (--training.num-steps 250200), the scale and the average searched for
each (table 6). Settings: table 9 and README of LTH14/JiT. The loss divides by
at least 0.05, as theirs; their sampler does so too, below t = 0.05, and leaves
a little noise.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/jit_b16_imagenet256',
  data=c.Data(
    name='tfds:imagenet2012', image_size=256, downsampling='halved', flip=True
  ),
  condition=c.Condition(label=True, drop=0.1),
  diffusion=c.Gaussian(
    schedule='rectified_flow',
    prediction='x0',
    weighting='clipped_velocity(0.05)',
    times='logit_normal(0.8, 0.8)',
    positions='independent',
  ),
  network=c.DiT(
    patch_size=16,
    width=768,
    depth=12,
    num_heads=12,
    patch_channels=128,
    qk_norm=True,
    rms_norm=True,
    swiglu=True,
    rotary=True,
    class_tokens=32,
    class_tokens_from=4,
    time_scale=1.0,
    frequency_shift=0,
    dtype='bfloat16',
  ),
  # A warm-up of 5 epochs of 1,251 steps.
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=2e-4,
    warmup_steps=6255,
    clip_norm=None,
    b2=0.95,
  ),
  training=c.Training(
    num_steps=750_600, batch_size=1024, log_every=100, preview_every=10_000
  ),
  # Guided below t = 0.9: the noisiest tenth is left alone.
  sampling=c.Sampling(
    sampler="heun('t')",
    steps=50,
    scale=2.9,
    interval=(0.0, 0.89),
    threshold='none',
    num=16,
  ),
  checkpoint=c.Checkpoint(every=5000, keep_every=50_000),
)
