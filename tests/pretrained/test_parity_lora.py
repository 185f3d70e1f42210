"""LoRA files against diffusers and PEFT, both ways, every factor random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import normal
from safetensors.numpy import load_file

from jaxdiff import lora
from jaxdiff.pretrained import lora_weights, unet_config, unet_weights

diffusers = pytest.importorskip('diffusers')
peft = pytest.importorskip('peft')
torch = pytest.importorskip('torch')

SETTINGS = dict(
  sample_size=4,
  block_out_channels=(32, 64),
  layers_per_block=1,
  down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
  up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'),
  attention_head_dim=4,
  cross_attention_dim=8,
)
LAYERS = ['to_q', 'to_k', 'to_v', 'to_out.0', 'proj_in', 'ff.net.0.proj']


def network():
  """Their U-Net, every parameter random, and ours with the same."""
  torch.manual_seed(0)
  net = diffusers.UNet2DConditionModel(**SETTINGS)
  config = unet_config.read_unet_config(
    {k: [*x] if isinstance(x, tuple) else x for k, x in SETTINGS.items()}
  )
  with torch.no_grad():
    for x in net.parameters():
      x.copy_(torch.randn_like(x) / max(1, x[0].numel()) ** 0.5)
  state = {k: x.detach().numpy() for k, x in net.state_dict().items()}
  return net.double(), config, unet_weights.unet_params(state, config)


def difference(net, config, params):
  xt, text = normal(2, 4, 4, 4), normal(2, 5, 8, seed=2)
  apply = jax.jit(config.network(4).apply)
  t = jnp.array([0.1, 0.7])
  ours = np.asarray(apply({'params': params}, xt, t, {'text': text}))
  double = lambda x: torch.tensor(np.asarray(x)).double()
  with torch.no_grad():
    theirs = net(
      double(xt).permute(0, 3, 1, 2), double(1000 * t), double(text)
    ).sample
  theirs = theirs.permute(0, 2, 3, 1).numpy()
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize('with_alpha', [True, False])
def test_their_file_is_read(with_alpha, tmp_path):
  net, config, params = network()
  settings = peft.LoraConfig(r=3, lora_alpha=6, target_modules=LAYERS)
  net.add_adapter(settings)
  with torch.no_grad():
    for name, x in net.named_parameters():
      if 'lora_' in name:
        x.copy_(torch.randn_like(x) / 4)
  about = {'unet_lora_adapter_metadata': settings.to_dict()}
  if not with_alpha:  # they then take alpha = rank
    for layer in net.modules():
      if hasattr(layer, 'set_scale'):
        layer.set_scale('default', 0.5)
  diffusers.StableDiffusionPipeline.save_lora_weights(
    tmp_path,
    peft.get_peft_model_state_dict(net),
    **(about if with_alpha else {}),
  )
  factors = lora_weights.read(tmp_path, params, 2)
  merged = lora.merged(params, factors, 1.0)
  assert difference(net, config, params) > 0.1
  assert difference(net, config, merged) < 1e-5


def test_ours_is_read_by_them(tmp_path):
  net, config, params = network()
  factors = lora.init(jax.random.key(0), params, 3)
  factors = jax.tree.map(lambda x: x + 0.1, factors)
  path = tmp_path / 'pytorch_lora_weights.safetensors'
  lora_weights.save(path, factors, 2, 2.0)
  state = {k: torch.tensor(x) for k, x in load_file(path).items()}
  net.load_lora_adapter(state, prefix='unet')
  net.double()
  merged = lora.merged(params, factors, 2.0)
  assert difference(net, config, params) > 0.1
  assert difference(net, config, merged) < 1e-5
