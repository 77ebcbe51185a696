"""torchlogix modules: onnxruntime, a numpy reading and the imported graph against the module's eval-mode output, bit for bit."""

from __future__ import annotations

import importlib.util

import pytest

RANKS = [("raw", 2), *((kind, rank) for kind in ("warp", "light") for rank in (2, 4, 6))]


@pytest.fixture(autouse=True)
def seed(torch):
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.skipif(
    importlib.util.find_spec("torchlogix") is None,
    reason="torchlogix is not installed: stand-ins only; run: pip install --no-deps torchlogix (Python 3.12 or newer)",
)
def test_torchlogix_itself_is_among_the_libraries(torch):
    """Shows in the report whether the tests below ran on the real library too."""
    import torchlogix.layers

    assert issubclass(torchlogix.layers.LogicDense, torch.nn.Module)


def _bits(torch, *shape):
    return torch.randint(0, 2, shape).float()


def _pixels(torch, *shape):
    """Multiples of 1/255, so that the graph's eight-bit input holds them exactly; thresholds from here are often met."""
    return torch.randint(0, 256, shape) / 255


@pytest.mark.parametrize("connections", ["fixed", "learnable"])
@pytest.mark.parametrize(("parametrization", "rank"), RANKS)
def test_dense(torch, torchlogix, agree, parametrization, rank, connections):
    kind = {"parametrization": parametrization, "lut_rank": rank, "connections": connections}
    kind["parametrization_kwargs"] = {"weight_init": "random"}
    kind["connections_kwargs"] = {"num_candidates": 2} if connections == "learnable" else {}
    module = torch.nn.Sequential(
        torch.nn.Flatten(),
        torchlogix.LogicDense(24, 60, **kind),
        torchlogix.LogicDense(60, 40, **kind),
        torchlogix.GroupSum(10, tau=3.3, beta=0.7),
    )
    model = agree(module, _bits(torch, 100, 4, 6))
    assert [n.name for n in model.graph.node] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("materialize", [False, True])
def test_warp_with_its_initial_weights(torch, torchlogix, agree, materialize):
    """The starting point has many exact zeros among its coefficients."""
    module = torchlogix.LogicDense(
        16, 40, lut_rank=4, parametrization="warp", parametrization_kwargs={"materialize_basis": materialize}
    )
    agree(module, _bits(torch, 100, 16))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("axes", "depth"), [(2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize(("parametrization", "rank"), [("raw", 2), ("warp", 2), ("warp", 4), ("light", 4)])
def test_convolution_trees(torch, torchlogix, agree, parametrization, rank, axes, depth, padding, stride):
    dims = (6, 5) if axes == 2 else (4, 5, 3)
    layer = getattr(torchlogix, f"LogicConv{axes}d")(
        in_dim=dims,
        channels=3,
        num_kernels=4,
        tree_depth=depth,
        receptive_field_size=(3, 2) if axes == 2 else (2, 3, 2),
        stride=stride,
        padding=padding,
        lut_rank=rank,
        parametrization=parametrization,
        parametrization_kwargs={"weight_init": "random"},
    )
    agree(torch.nn.Sequential(layer), _bits(torch, 4, 3, *dims))


def test_rank_six_convolution(torch, torchlogix, agree):
    layer = torchlogix.LogicConv2d(
        in_dim=5, channels=2, num_kernels=3, tree_depth=2, receptive_field_size=3, lut_rank=6, parametrization="light"
    )
    agree(layer, _bits(torch, 10, 2, 5, 5))


def test_convolutional_network(torch, torchlogix, agree):
    module = torch.nn.Sequential(
        torchlogix.FixedBinarization(_pixels(torch, 2, 2).sort(-1)[0], feature_dim=1),
        torchlogix.LogicConv2d(
            in_dim=8, channels=4, num_kernels=6, tree_depth=2, receptive_field_size=3, padding=1,
            connections_kwargs={"channel_group_size": 2} if hasattr(torchlogix, "setup_connections") else {},
        ),
        torchlogix.OrPooling2d(2, 2, 1),
        torchlogix.ResidualLogicBlock(5, 6, 6, tree_depth=2),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torchlogix.LogicDense(150, 100),
        torchlogix.GroupSum(10, 8.0),
    )  # fmt: skip
    model = agree(module, _pixels(torch, 6, 2, 8, 8))
    operators = [n.op_type for n in model.graph.node]
    assert operators.count("Transpose") == 2, "one on the way into channels-last, one before flattening"
    assert [n.name for n in model.graph.node if n.op_type == "Or"] == ["3.or"]


def test_three_dimensional_network(torch, torchlogix, agree):
    module = torch.nn.Sequential(
        torchlogix.LogicConv3d(in_dim=6, channels=2, num_kernels=3, tree_depth=2, receptive_field_size=3),
        torchlogix.OrPooling3d(2, 2, 0),
        torch.nn.Flatten(),
        torchlogix.LogicDense(24, 20),
        torchlogix.GroupSum(10, 8.0),
    )
    agree(module, _bits(torch, 5, 2, 6, 6, 6))


@pytest.mark.parametrize("kind", ["FixedBinarization", "SoftBinarization", "LearnableBinarization"])
@pytest.mark.parametrize("shape", [(5,), (12, 5), (1, 5), (12, 1)])
@pytest.mark.parametrize("scale", [1, 255])
def test_binarisation_of_features(torch, torchlogix, agree, kind, shape, scale):
    thresholds = _pixels(torch, *shape).sort(-1)[0] * scale
    module = torch.nn.Sequential(
        getattr(torchlogix, kind)(thresholds),
        torch.nn.Flatten(),
        torchlogix.LogicDense(12 * shape[-1], 60),
        torchlogix.GroupSum(10, 2.0),
    )
    sample = _pixels(torch, 40, 12) * scale
    sample[:5] = thresholds[..., 0].expand(12)
    agree(module, sample if scale == 1 else sample.round().to(torch.uint8))


@pytest.mark.parametrize("feature_dim", [-2, -3, 1, 2, 3])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (1, 5), (3, 6, 5, 4)])
@pytest.mark.parametrize("kind", ["FixedBinarization", "LearnableBinarization"])
def test_binarisation_of_images(torch, torchlogix, agree, kind, shape, feature_dim):
    module = getattr(torchlogix, kind)(_pixels(torch, *shape).sort(-1)[0], feature_dim=feature_dim)
    agree(module, _pixels(torch, 6, 3, 6, 5))


def test_dummy_binarisation_takes_bits(torch, torchlogix, agree):
    model = agree(torch.nn.Sequential(torchlogix.DummyBinarization(), torchlogix.LogicDense(8, 8)), _bits(torch, 9, 8))
    assert model.graph.input[0].type.tensor_type.elem_type == 9


@pytest.mark.parametrize("tau", [1.0, 0.3, 28.0, 1e-3])
@pytest.mark.parametrize("beta", [0.0, 0.1, -7.5])
def test_group_sum_rounds_like_torch(torch, torchlogix, agree, tau, beta):
    module = torch.nn.Sequential(torchlogix.LogicDense(30, 300), torchlogix.GroupSum(3, tau=tau, beta=beta))
    agree(module, _bits(torch, 200, 30))


def test_dense_works_on_inner_axes(torch, torchlogix, agree):
    agree(torch.nn.Sequential(torchlogix.LogicDense(8, 12)), _bits(torch, 5, 3, 8))
