"""Seconds a step of diffusers at 512x512 with guidance, with 0, 1 and 2 ControlNets, and of the VAE's decode; CPU, float32 or argv[1]."""
import json, statistics, sys, time
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

torch.set_grad_enabled(False)
torch.set_default_dtype(getattr(torch, sys.argv[1] if len(sys.argv) > 1 else "float32"))
unet = UNet2DConditionModel(cross_attention_dim=768).eval()
controlnets = [ControlNetModel(cross_attention_dim=768).eval() for _ in range(2)]
vae = AutoencoderKL(
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
).eval()
sample, text, hint = torch.randn(2, 4, 64, 64), torch.randn(2, 77, 768), torch.rand(2, 3, 512, 512)


def step(count):
    down, mid = None, None
    for controlnet in controlnets[:count]:
        own, own_mid = controlnet(sample, 500, text, hint, return_dict=False)
        down = own if down is None else [a + b for a, b in zip(down, own)]
        mid = own_mid if mid is None else mid + own_mid
    unet(sample, 500, text, down_block_additional_residuals=down, mid_block_additional_residual=mid)


def seconds(run):
    times = []
    for _ in range(4):
        start = time.time()
        run()
        times.append(time.time() - start)
    return statistics.median(times[1:])


steps = [seconds(lambda: step(count)) for count in range(3)]
print(json.dumps({"steps": steps, "decode": seconds(lambda: vae.decode(sample[:1]))}))
