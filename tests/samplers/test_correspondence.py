"""Samplers and grids of ComfyUI and diffusers: ours, or said in the table."""

import re
from pathlib import Path

import pytest

from jaxdiff.config import registry

PAGE = Path(__file__).parents[2] / 'docs' / 'correspondence.md'
COMFYUI = (
  'euler euler_ancestral heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde dpm_2 '
  'dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_sde '
  'dpmpp_2m dpmpp_2m_sde dpmpp_2m_sde_heun dpmpp_3m_sde ddpm lcm ipndm ipndm_v '
  'deis res_multistep res_multistep_ancestral gradient_estimation er_sde '
  'seeds_2 seeds_3 sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2 '
  # Its schedulers, our grids.
  'simple sgm_uniform karras exponential ddim_uniform beta normal '
  'linear_quadratic kl_optimal'
).split()
DIFFUSERS = (
  'Amused CMStochasticIterative CogVideoXDDIM CogVideoXDPM DDIM DDIMInverse '
  'DDIMParallel DDPM DDPMParallel DDPMWuerstchen DEISMultistep '
  'DPMSolverMultistep DPMSolverMultistepInverse DPMSolverSDE '
  'DPMSolverSinglestep EDMDPMSolverMultistep EDMEuler EulerAncestralDiscrete '
  'EulerDiscrete FlowMatchEulerDiscrete FlowMatchHeunDiscrete FlowMatchLCM '
  'HeunDiscrete IPNDM KDPM2AncestralDiscrete KDPM2Discrete '
  'KarrasVe LCM LMSDiscrete PNDM RePaint SASolver SCM ScoreSdeVe ScoreSdeVp '
  'TCD UnCLIP UniPCMultistep VQDiffusion BlockRefinement ConsistencyDecoder '
  'CosineDPMSolverMultistep DiscreteDDIM EntropyBound FlowMapEulerDiscrete '
  'Helios HeliosDMD LTXEulerAncestralRF MiniMaxH3 Piflow RFD4Proteina'
).split()
OURS = {*registry.SAMPLERS, *registry.GRIDS}


def named():
  """Every name between backticks, without its arguments."""
  quoted = re.findall('`([^`]+)`', PAGE.read_text())
  return {re.split(r'[(=, ]', x)[0] for x in quoted}


@pytest.mark.parametrize('name', COMFYUI)
def test_comfyui(name):
  assert name in OURS | named()


@pytest.mark.parametrize('name', DIFFUSERS)
def test_diffusers(name):
  assert f'{name}Scheduler' in named()


def test_what_is_said_to_be_elsewhere_is_not_here():
  for part in re.findall('Not here: (.*?)\n\n', PAGE.read_text(), re.DOTALL):
    assert not {*re.findall('`([^`]+)`', part)} & OURS - {'encode'}
