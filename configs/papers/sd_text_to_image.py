"""Text to image as Stable Diffusion 1, at 512x512 (Rombach et al. 2022).

The data set, --data.name folder:PATH, is a folder of images with a
captions.json ({file, caption} each).

  python train.py --config configs/papers/sd_text_to_image.py
  python sample.py runs/sd_text_to_image --prompt "a red bicycle" --scale 7.5

--latent.autoencoder, of 64x64x4, and --condition.clip are Stable Diffusion's,
from the Hub. 859,520,964 parameters, as published. Hardware: 32 machines of 8
A100 for the authors; not run here. There is no FID for it alone. Settings:
v1-inference.yaml and the model card of CompVis/stable-diffusion, for v1-1. Of
its 431,000 steps the first 237,000 were at 256x256. A tenth of the captions is
dropped, as from v1-3 on, so that it can be guided.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/sd_text_to_image',
  data=c.Data(name='folder:images', image_size=512),
  latent=c.Latent(autoencoder='hf://CompVis/stable-diffusion-v1-4/vae'),
  condition=c.Condition(
    text='clip',
    clip='hf://openai/clip-vit-large-patch14',
    pooled=False,
    drop=0.1,
  ),
  diffusion=c.Gaussian(
    schedule='scaled_linear_betas(0.00085, 0.012)',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    times='grid',
    positions='independent',
  ),
  network=c.UNet(
    channels=320,
    channel_mults=(1, 2, 4, 4),
    num_res_blocks=2,
    attention_resolutions=(64, 32, 16),
    num_heads=8,
    norm_eps=1e-5,
    cosine_first=True,
    frequency_shift=0,
    padded_halving=True,
    dtype='bfloat16',
    remat=True,
  ),
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=1e-4,
    warmup_steps=10_000,
    clip_norm=None,
    weight_decay=0.01,
  ),
  training=c.Training(
    num_steps=431_000, batch_size=2048, log_every=100, preview_every=10_000
  ),
  sampling=c.Sampling(
    sampler='plms',
    steps=50,
    times='leading(offset=1, last=1)',
    scale=7.5,
    threshold='none',
    num=16,
  ),
  checkpoint=c.Checkpoint(every=5000, keep_every=50_000),
)
