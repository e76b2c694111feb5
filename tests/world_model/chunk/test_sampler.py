"""ChunkSampler: the same as sample_chunk, in other precisions, and fit for a CUDA graph."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.chunk_worlds import FAST, pixel_world, table_world
from tests.conftest import NEEDS_GPU
from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from world_model import ChunkSamplerConfig, sample_chunk
from world_model.chunk.sampler import ChunkSampler, half_precision
from world_model.chunk.sampling import network_evaluations, sampling_times

CAPTURED_SAMPLERS = ("pndm", "ddim", "dpm-solver++")
DENOISERS = {
    "frame": tiny_irasim,
    "video": lambda: tiny_irasim(conditioning="video"),
    "final": lambda: tiny_irasim(final_frame_ada=True),
    "sigma": lambda: tiny_irasim(learn_sigma=True),
    "unet": tiny_unet,
}


def chunk(denoiser, batch=2, seed=2):
    """First frame, actions and noise for a tiny denoiser."""
    x, _, actions = chunk_inputs(denoiser, batch)
    return x[:, :1], actions, torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def settings(name="dpm-solver++", num_steps=12, guidance=1.0):
    return ChunkSamplerConfig(name=name, num_steps=num_steps, guidance=guidance)


def psnr(made, expected):
    """Decibels, of latents: against the range that the expected ones span."""
    error = (made - expected).square().mean()
    return 10 * torch.log10((expected.max() - expected.min()).square() / error).item()


@pytest.mark.parametrize("name", [*CAPTURED_SAMPLERS, "ddpm"])
@pytest.mark.parametrize(("kind", "guidance"), [("frame", 1.0), ("sigma", 3.0), ("unet", 3.0)])
def test_it_is_sample_chunk_bit_for_bit(kind, guidance, name):
    denoiser = DENOISERS[kind]()
    first, actions, noise = chunk(denoiser)
    config = settings(name, 4, guidance)
    for given in (actions, actions[:, :2]):
        expected = sample_chunk(
            denoiser, first, given, noise=noise, sampler=name, num_steps=4, guidance=guidance
        )
        assert torch.equal(ChunkSampler(denoiser, config)(first, given, noise), expected)


@pytest.mark.parametrize("name", CAPTURED_SAMPLERS)
@pytest.mark.parametrize(
    ("kind", "guidance"), [("frame", 3.0), ("video", 1.0), ("final", 1.0), ("sigma", 3.0)]
)
def test_adaln_parameters_of_all_times_at_once_change_nothing_but_rounding(kind, guidance, name):
    denoiser = DENOISERS[kind]()
    inputs, config = chunk(denoiser), settings(name, 6, guidance)
    with torch.no_grad():
        expected = ChunkSampler(denoiser, config)(*inputs)
        made = ChunkSampler(denoiser, config, tabulate=True)(*inputs)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4 * expected.std().item())


@pytest.mark.parametrize("conditioning", ["frame", "video"])
def test_the_table_holds_each_times_parameters(conditioning):
    denoiser = tiny_irasim(conditioning=conditioning)
    x, _, actions = chunk_inputs(denoiser)
    times = torch.tensor([3, 700, 999])
    with torch.no_grad():
        table = denoiser.modulation_table(times, actions)
        for step, time in enumerate(times):
            made = denoiser.denoise(x, [parameters[step] for parameters in table])
            torch.testing.assert_close(made, denoiser(x, time.expand(2), actions))


def lively(seed=0):
    """A transformer whose prediction is as strong as the noise that it stands for."""
    denoiser = tiny_irasim(seed, hidden_size=64, depth=4)
    x, t, actions = chunk_inputs(denoiser)
    with torch.no_grad():
        denoiser.final.linear.weight /= denoiser(x, t, actions).std()
        assert denoiser(x, t, actions).std() > 0.5
    return denoiser


@pytest.mark.parametrize("tabulate", [False, True])
@pytest.mark.parametrize("name", CAPTURED_SAMPLERS)
def test_bf16_keeps_the_latents_over_35_db(name, tabulate):
    denoiser = lively()
    inputs, config = chunk(denoiser), settings(name, 20)
    expected = ChunkSampler(denoiser, config)(*inputs)
    made = ChunkSampler(denoiser, config, precision="bf16", tabulate=tabulate)(*inputs)
    assert made.dtype == torch.float32
    assert torch.equal(made[:, :1], inputs[0])
    assert not torch.equal(made, expected)
    assert psnr(made, expected) > 35


def test_bf16_of_a_unet_keeps_the_latents_over_35_db():
    denoiser = tiny_unet()
    inputs = chunk(denoiser)
    expected = ChunkSampler(denoiser, settings())(*inputs)
    made = ChunkSampler(denoiser, settings(), precision="bf16")(*inputs)
    assert made.dtype == torch.float32
    assert not torch.equal(made, expected)
    assert psnr(made, expected) > 35


def test_half_precision_shares_what_stays_in_float32_and_leaves_the_denoiser_as_it_was():
    denoiser = tiny_irasim()
    before = copy.deepcopy(denoiser.state_dict())
    halved = half_precision(denoiser)
    theirs = dict(halved.named_parameters())
    for name, parameter in denoiser.named_parameters():
        heavy = any(part in name for part in ("patch_embedding", ".attn.", ".mlp."))
        assert theirs[name].dtype == (torch.bfloat16 if heavy else torch.float32), name
        assert (theirs[name] is parameter) == (not heavy), name
        assert torch.equal(parameter, before[name]) and parameter.dtype == torch.float32


class NoWaiting(TorchDispatchMode):
    """Refuses what waits for a device or copies to it. Here it is "meta", the host the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        on_device = [tensor for tensor in tensors if tensor.device.type == "meta"]
        name = func.overloadpacket.__name__
        if on_device and name in ("_local_scalar_dense", "nonzero", "masked_select"):
            raise AssertionError(f"{name} waits for the device")
        out = func(*args, **(kwargs or {}))
        copies = name in ("copy_", "_to_copy") and isinstance(out, torch.Tensor)
        if copies and {tensor.device.type for tensor in (*tensors, out)} == {"meta", "cpu"}:
            raise AssertionError(f"{name} copies between host and device")
        return out


@pytest.mark.slow_suite
@pytest.mark.parametrize("tabulate", [False, True])
@pytest.mark.parametrize("name", CAPTURED_SAMPLERS)
@pytest.mark.parametrize("kind", DENOISERS)
def test_nothing_waits_for_the_device_or_depends_on_values_there(kind, name, tabulate):
    """Tensors without values stand for those of a GPU."""
    denoiser = DENOISERS[kind]()
    inputs = [tensor.to("meta") for tensor in chunk(denoiser)]
    transformer = kind != "unet"  # a U-Net has no table, and no autocast without a device
    sampler = ChunkSampler(
        denoiser.to("meta"),
        settings(name, 4, guidance=3.0),
        precision="bf16" if transformer and tabulate else "float32",
        tabulate=transformer and tabulate,
    )
    with NoWaiting():
        assert sampler(*inputs).device.type == "meta"


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: 1 if x.sum() > 0 else 2,
        lambda x: x.nonzero().sum(),
        lambda x: torch.ones(3).to("meta").sum(),
        lambda x: torch.zeros(3, device="meta").copy_(torch.ones(3)).sum(),
        lambda x: x.sum().cpu(),
    ],
)
def test_what_waits_would_be_noticed(wait):
    denoiser = tiny_irasim().to("meta")
    sampler = ChunkSampler(denoiser, settings())
    forward = denoiser.forward
    denoiser.forward = lambda x, t, actions: forward(x, t, actions) * wait(x)
    inputs = [tensor.to("meta") for tensor in chunk(denoiser)]
    with NoWaiting(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        sampler(*inputs)


@pytest.mark.parametrize("num_steps", [4, 12, 20])
@pytest.mark.parametrize("name", [*CAPTURED_SAMPLERS, "ddpm"])
def test_network_evaluations_are_counted_right(name, num_steps):
    denoiser = tiny_irasim()
    times = []
    forward = denoiser.forward
    denoiser.forward = lambda x, t, actions: times.append(t[0].item()) or forward(x, t, actions)
    ChunkSampler(denoiser, settings(name, num_steps))(*chunk(denoiser))
    assert len(times) == network_evaluations(name, num_steps)
    assert times == sampling_times(name, num_steps)


def test_wrong_settings_and_inputs_are_refused():
    denoiser = tiny_irasim()
    with pytest.raises(ValueError, match=r"ddpm draws noise at every step.*graph=False"):
        ChunkSampler(denoiser, settings("ddpm"), graph=True)
    with pytest.raises(ValueError, match=r"tabulate is True for a UNet3D"):
        ChunkSampler(tiny_unet(), settings(), tabulate=True)
    with pytest.raises(ValueError, match="precision is 'float16', expected float32 or bf16"):
        ChunkSampler(denoiser, settings(), precision="float16")  # pyright: ignore
    first, actions, noise = chunk(denoiser)
    sampler = ChunkSampler(denoiser, settings(), precision="bf16")
    with pytest.raises(ValueError, match=r"noise is torch.bfloat16, expected torch.float32"):
        sampler(first, actions, noise.bfloat16())
    with pytest.raises(ValueError, match="first has shape"):
        sampler(noise, actions, noise)
    denoiser.train()
    with pytest.raises(ValueError, match="training mode"):
        sampler(first, actions, noise)


def test_a_graph_needs_a_gpu():
    denoiser = tiny_irasim()
    with pytest.raises(ValueError, match=r"the chunk sampler.*one CUDA device.*graph=False"):
        ChunkSampler(denoiser, settings(), graph=True)(*chunk(denoiser))


def test_a_sampler_with_a_graph_is_freed_without_the_collector():
    sampler = ChunkSampler(tiny_irasim(), settings(), graph=True)
    gone = weakref.ref(sampler)
    gc.disable()
    try:
        del sampler
        assert gone() is None
    finally:
        gc.enable()


class TestWorld:
    @staticmethod
    def started(world, batch=2):
        frames = torch.stack([torch.from_numpy(world.starts[i].frames) for i in range(batch)])
        return world.start(frames, torch.zeros(batch, 0, world.config.action_dim), range(batch))

    @pytest.mark.parametrize("make", [table_world, pixel_world])
    def test_precision_may_change_between_steps(self, make):
        world = make()
        actions = 0.05 * torch.ones(2, 3, world.config.action_dim)
        latents = {}
        for precision in ("float32", "bf16", "float32"):
            world.precision = precision
            state = self.started(world)
            world.step_chunk_(state, actions)
            if precision in latents:
                assert torch.equal(state.latents, latents[precision])
            latents[precision] = state.latents
        assert not torch.equal(latents["bf16"], latents["float32"])
        assert psnr(latents["bf16"], latents["float32"]) > 35

    def test_converting_the_world_forgets_samplers_made_before(self):
        world = table_world()
        world.precision = "bf16"
        action = 0.05 * torch.ones(1, 2)
        before = world.step(self.started(world, 1), action)[0].latents
        with torch.no_grad():
            world.denoiser.blocks[0].attn.qkv.weight += 1
        world.float()
        after = world.step(self.started(world, 1), action)[0].latents
        assert not torch.equal(before, after)

    def test_loading_weights_forgets_samplers_made_before(self):
        world = table_world()
        world.precision = "bf16"
        action = 0.05 * torch.ones(1, 2)
        weights = {name: tensor.clone() for name, tensor in world.state_dict().items()}
        weights["denoiser.blocks.0.attn.qkv.weight"] += 1
        before = world.step(self.started(world, 1), action)[0].latents
        world.load_state_dict(weights)
        after = world.step(self.started(world, 1), action)[0].latents
        assert not torch.equal(before, after)

    def test_a_pickled_world_steps_alike(self):
        world = table_world()
        action = 0.05 * torch.ones(1, 2)
        expected = world.step(self.started(world, 1), action)[0].latents
        other = pickle.loads(pickle.dumps(world))
        assert not other._samplers
        assert torch.equal(other.step(self.started(other, 1), action)[0].latents, expected)

    @pytest.mark.parametrize("at_once", [2, 4, 100])
    def test_decoding_many_frames_at_once_is_decoding_one_by_one(self, at_once):
        world = table_world()
        actions = 0.05 * torch.ones(2, 5, 2)
        expected = world.step_chunk_(self.started(world), actions).frames
        sizes = []
        decode = world.codec.decode
        world.codec.decode = lambda latents: sizes.append(len(latents)) or decode(latents)
        world.decode_frames = at_once
        made = world.step_chunk_(self.started(world), actions).frames
        assert (made.int() - expected.int()).abs().max() <= 1
        assert max(sizes) <= at_once and sum(sizes) == 10 and len(sizes) == -(-10 // at_once)

    def test_a_graph_of_a_world_on_the_processor_is_refused(self):
        world = table_world()
        world.graph = True
        with pytest.raises(ValueError, match="CUDA graphs need a CUDA device"):
            world.step_(self.started(world, 1), torch.zeros(1, 2))

    def test_few_step_sampler_of_a_world(self):
        for num_steps in (12, 20):
            world = table_world(ChunkSamplerConfig(name="dpm-solver++", num_steps=num_steps))
            assert world.config.evaluations_per_step == num_steps
            assert world.step_(self.started(world), torch.zeros(2, 2)).frame.shape[0] == 2


class TestOnGpu:
    pytestmark = NEEDS_GPU

    @pytest.mark.parametrize("tabulate", [False, True])
    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    @pytest.mark.parametrize("name", CAPTURED_SAMPLERS)
    def test_replays_equal_eager_bit_for_bit(self, name, precision, tabulate):
        denoiser = lively().cuda()
        ways = {"precision": precision, "tabulate": tabulate}
        eager = ChunkSampler(denoiser, settings(name, 8, 2.0), **ways)
        graph = ChunkSampler(denoiser, settings(name, 8, 2.0), graph=True, **ways)
        made, expected = [], []
        for batch, seed in ((2, 1), (2, 2), (1, 3), (2, 4)):
            inputs = [tensor.cuda() for tensor in chunk(denoiser, batch, seed)]
            made.append(graph(*inputs))
            expected.append(eager(*inputs))
        assert all(map(torch.equal, made, expected))
        assert not torch.equal(made[0], made[1])

    @pytest.mark.parametrize("name", CAPTURED_SAMPLERS)
    def test_captured_bf16_stays_near_eager_float32(self, name):
        denoiser = lively().cuda()
        inputs = [tensor.cuda() for tensor in chunk(denoiser)]
        eager = ChunkSampler(denoiser, settings(name, 12))(*inputs)
        ways = {"precision": "bf16", "tabulate": True, "graph": True}
        made = ChunkSampler(denoiser, settings(name, 12), **ways)(*inputs)
        assert psnr(made[:, 1:], eager[:, 1:]) > 35
        assert not torch.equal(made, eager)

    def test_short_chunks_share_the_graph_of_whole_ones(self):
        denoiser = lively().cuda()
        first, actions, noise = (tensor.cuda() for tensor in chunk(denoiser))
        graph = ChunkSampler(denoiser, settings(), graph=True)
        for count in (3, 1, 2):
            made = graph(first, actions[:, :count], noise)
            eager = ChunkSampler(denoiser, settings())(first, actions[:, :count], noise)
            assert torch.equal(made, eager)
        assert graph._captured is not None and len(graph._captured) == 1

    def test_of_a_unet(self):
        denoiser = tiny_unet().cuda()
        inputs = [tensor.cuda() for tensor in chunk(denoiser)]
        for precision in ("float32", "bf16"):
            ways = [
                ChunkSampler(denoiser, settings(), precision=precision, graph=graph)(*inputs)
                for graph in (True, False)
            ]
            assert torch.equal(*ways)

    def test_inputs_of_another_type_or_device_are_refused_before_a_replay(self):
        denoiser = lively().cuda()
        first, actions, noise = (tensor.cuda() for tensor in chunk(denoiser))
        graph = ChunkSampler(denoiser, settings(), graph=True)
        graph(first, actions, noise)
        with pytest.raises(ValueError, match="actions is torch.float64"):
            graph(first, actions.double(), noise)
        with pytest.raises(ValueError, match="one CUDA device"):
            graph(first, actions.cpu(), noise)

    @pytest.mark.parametrize("over_time", [False, True])
    def test_attention_of_the_published_sizes_is_flash(self, over_time):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        from world_model.chunk.irasim import SelfAttention

        attention = SelfAttention(1152, 16).to("cuda", torch.bfloat16)
        x = torch.randn(1, 16, 320, 1152, device="cuda", dtype=torch.bfloat16)
        with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert attention(x, over_time).isfinite().all()

    def test_a_world_captures_by_itself_and_gives_what_eager_gives(self):
        world = table_world(FAST).cuda()
        actions = 0.05 * torch.ones(2, 7, 2)
        frames = {}
        for graph in (None, False):
            world.graph = graph
            frames[graph] = world.step_chunk_(TestWorld.started(world), actions).frames
        assert torch.equal(frames[None], frames[False])
