"""What the layers of any torch module do to wavenumbers, and which of them to re-train."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from eddyscope.advisor.ranking import rank_layers
from eddyscope.advisor.reason import reason
from eddyscope.advisor.scores.base import Evidence, Score
from eddyscope.advisor.scores.registry import SCORES
from eddyscope.advisor.settings import AdviseSettings
from eddyscope.analysis.activation_spectra import Subject, measure
from eddyscope.analysis.convolutions import CONVOLUTIONS, kernels_in
from eddyscope.analysis.kernel_spectra import KINDS, by_wavenumber
from eddyscope.analysis.kernel_survey import survey
from eddyscope.api.checks import Choosing, alone, numbers, validated, with_arguments
from eddyscope.artefacts.analysis import activation_group, kernel_group
from eddyscope.artefacts.key import BASE
from eddyscope.config.arrays import AnyArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.layers import find_layers, named_layers
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["LayerAdvice", "activation_spectra", "advise", "kernel_spectra"]

MOST_NUMBERS = 2**27
"""Of the spectra of one output's kernels that are in memory at a time."""

Arrays = AnyArray | Tensor
"""Numbers as numpy or torch has them."""


@dataclass(frozen=True)
class LayerAdvice:
    """Layers ranked before any is re-trained."""

    ranking: list[str]
    """Layers, the best first."""
    values: dict[str, float]
    """Layer -> score, the higher the better, in the order of a forward pass."""
    ties: list[list[str]]
    """Layers that the score does not tell apart, in groups; their order in `ranking` means
    nothing."""
    reason: str
    """The same in words."""
    left_out: dict[str, str]
    """Submodule that looks like a layer and is none -> why."""


def kernel_spectra(module: nn.Module, n: int = 64) -> dict[str, xr.Dataset]:
    """Layer -> what its kernels amplify, for each convolution of a module.

        ĥ_j(k) = Σ_b T_jb(k) ĝ_b(k),   T = conj(FFT of the kernel, its centre at the origin)

    of h_j = Σ_b W_jb ⋆ g_b, a convolution as deep learning has it, periodic.

    n: points a direction of what the layers are given, the same for all; by default 64. It decides
        where wavenumbers end, and how finely they are told apart.

    Layers are called as in `module.named_modules()`. Each dataset has `amplification`, axes (out,
    in, wavenumber): root mean square of |T| over the shell of each |k|; and, axes (out, in),
    centroid, bandwidth, zero_share and peak of each kernel, of two dimensions also anisotropy and
    kind; attributes say what they are. Convolutions of one and three dimensions have theirs in as
    many. A transposed one is the adjoint of a convolution and amplifies alike: with strides, its
    input with zeros between the points. Linear layers have no wavenumbers and are left out. Raises
    CaseError for a module without a convolution.

    >>> import eddyscope, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(2, 8, 5), nn.ReLU(), nn.Conv2d(8, 1, 5))
    >>> spectra = eddyscope.kernel_spectra(net)
    >>> list(spectra), spectra["2"].amplification.dims
    (['0', '2'], ('out', 'in', 'wavenumber'))
    """
    _require_module(module)
    found = {k: m for k, m in module.named_modules() if isinstance(m, CONVOLUTIONS)}
    for name, layer in found.items():
        _require_numbers(name, layer)
    if not found:
        raise CaseError(
            f"{type(module).__name__} has no convolution (linear layers have no wavenumbers)"
        )
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 2:
        raise CaseError(f"n = {n!r}: give a whole number of points a side, at least 2")
    kernels = {name: kernels_in(layer) for name, layer in found.items()}
    largest = max(array.shape[1] * int(n) ** (array.ndim - 2) for array in kernels.values())
    if largest > MOST_NUMBERS:
        raise CaseError(
            f"n = {n}: the spectra of one output have {largest} numbers, more than {MOST_NUMBERS}; "
            "give a smaller n"
        )
    return {name: _spectra_of(array, int(n)) for name, array in kernels.items()}


def _spectra_of(kernels: RealArray, n: int) -> xr.Dataset:
    """One layer's; kernels: (out, in, …)."""
    if kernels.ndim != 4:
        return kernel_group(by_wavenumber(kernels, n), KINDS, n)
    ((_, entry),) = survey(alone(), {BASE: {"": kernels}}, {"": n}, seed=0).items()
    return kernel_group({**asdict(entry.shape), "amplification": entry.radial}, KINDS, n)


def activation_spectra(
    module: nn.Module, layers: Sequence[str] | None, inputs: Arrays
) -> xr.Dataset:
    """Spectra of what the layers of a module give (h), and of what is made of it before the next
    layer is given it (g), axes (layer, wavenumber), means over samples and channels.

        S_h(κ) = Σ_{|k| ≈ κ} |ĥ(k)|²,   ĥ = FFT(h)/n²,   Σ_κ S_h(κ) = mean of h² (Parseval)

    layers: names in `module.named_modules()`; None for every convolution and linear layer that a
        forward pass meets. They are in its order; of layers that share weights there is one, and
        one that is met twice is there twice.
    inputs: (sample, channel, y, x), square, as the module takes them.

    The module is used as in `eval()` and stays as it is. Raises CaseError for inputs that it does
    not take, and for layers that it does not have.

    >>> import eddyscope, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU())
    >>> eddyscope.activation_spectra(net, None, torch.randn(4, 2, 32, 32)).h.dims
    ('layer', 'wavenumber')
    """
    copied, fields, _ = _at_work(module, inputs)
    if not _is_square(fields):
        raise CaseError(
            f"inputs have shape {tuple(fields.shape)}; spectra need as many points along y as "
            "along x"
        )
    chosen, _ = _chosen(copied, layers, fields)
    model = _layered(copied, chosen, fields.shape[1])
    found = measure(alone(), {"": Subject(model, fields)})[""]
    arrays = {"points": found.points, "h": found.h, "g": found.g, "positive": found.positive}
    return activation_group(found.layers, model.channels.inputs, {**arrays, "input": found.inputs})


@torch.inference_mode(mode=False)  # which whoever calls may have on, and has no derivatives
def advise(
    module: nn.Module,
    layers: Sequence[str] | None,
    inputs: Arrays,
    targets: Arrays,
    score: Choosing = "probe",
) -> LayerAdvice:
    """Which layer of a trained module to re-train on a few samples of another system, before any
    is. One factor of each input and output channel is fitted first; the value of a layer is the
    share of the error that these leave which a few steps of re-training that layer alone remove
    ("probe", `advisor/scores/probe.py`). Other scores: `eddyscope settings advise.scores`.

    layers: names in `module.named_modules()`; None for every convolution and linear layer that a
        forward pass meets; of layers that share weights there is one.
    inputs, targets: a few samples, (sample, channel, y, x), as the module takes and gives them:
        normalised, if it was trained on normalised ones. Where the module does worse than to
        predict nothing, `reason` asks whether they are.

    The module is used as in `eval()` and stays as it is; it computes on the CPU. Raises CaseError
    for samples that do not fit it, and for layers that it does not have.

    >>> import eddyscope, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3))
    >>> advice = eddyscope.advise(net, None, torch.randn(4, 2, 16, 16), torch.randn(4, 1, 12, 12))
    >>> sorted(advice.ranking), sorted(advice.values)
    (['0', '2'], ['0', '2'])
    """
    name = score.get("kind") if isinstance(score, Mapping) else score
    table = {"scores": [score], **({"default_score": name} if isinstance(name, str) else {})}
    with with_arguments({"scores.0": "score"}):
        settings = validated(AdviseSettings, table)
    judge: Score = SCORES.build(settings.scores[0])
    if judge.reads_base:
        raise CaseError(f"score {name!r} needs samples of the base system too; use another here")
    copied, fields, output = _at_work(module, inputs)
    wanted = _as_tensor(targets, "targets", copied)
    if wanted.shape[1:] != output.shape[1:] or len(wanted) != len(fields):
        raise CaseError(
            f"targets have shape {tuple(wanted.shape)}, but of {len(fields)} inputs the module "
            f"gives {(len(fields), *output.shape[1:])}"
        )
    chosen, left_out = _chosen(copied, layers, fields)
    model = _layered(copied, chosen, fields.shape[1], wanted.shape[1])
    evidence = Evidence(Samples(fields, wanted), spectral=_is_square(wanted))
    ranking = rank_layers(model, evidence, {str(name): judge}, alone())[str(name)]
    words = reason(str(name), judge, ranking, len(fields)) + _scaling(copied, fields, wanted)
    values = dict(ranking.values)
    return LayerAdvice(ranking.layers, values, ranking.ties, words, dict(left_out))


def _scaling(module: nn.Module, fields: Tensor, wanted: Tensor) -> str:
    """A sentence where the module does worse than 0 would: often its samples are not scaled as
    those that it was trained on, which cannot be known from here."""
    with torch.no_grad():
        error = float((wanted - module(fields)).square().mean() / wanted.square().mean())
    if not 1.0 < error < float("inf"):  # targets of 0 have no size to compare with
        return ""
    return (
        f" The module's error is {error:.3g} times that of predicting nothing: are inputs (their "
        f"std is {float(fields.std()):.2g}) and targets ({float(wanted.std()):.2g}) scaled as "
        "those that it was trained on?"
    )


# --- Modules of users ----------------------------------------------------------------------


def _layered(
    module: nn.Module, layers: Mapping[str, nn.Module], inputs: int = 0, outputs: int = 0
) -> LayeredModel:
    """A module of so many channels as the rest of the program has networks."""
    given, gives = (tuple(str(number) for number in range(count)) for count in (inputs, outputs))
    channels = Channels(given, tuple(f"output {name}" for name in gives))
    # However they lie: a module may rely on it, and who calls it knows.
    return LayeredModel(module, layers, NetworkSettings(), channels, channels_last=False)


def _require_module(module: object) -> None:
    if not isinstance(module, nn.Module):
        given = f"class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise CaseError(f"module is of type {given}; give a torch.nn.Module, made")


def _require_numbers(name: str, layer: nn.Module) -> None:
    """CaseError unless a convolution's weights are finite real numbers."""
    weight = layer.get_parameter("weight")
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise CaseError(f"layer {name!r} has no weights yet; call the module once first")
    if weight.is_complex() or not torch.isfinite(weight).all():
        raise CaseError(f"layer {name!r} has weights that are not finite real numbers")


def _at_work(module: nn.Module, inputs: Arrays) -> tuple[nn.Module, Tensor, Tensor]:
    """A copy of the module on the CPU that is not in training, its inputs, and what it gives of
    the first of them. Raises CaseError."""
    _require_module(module)
    copied = copy.deepcopy(module).cpu().eval()
    fields = _as_tensor(inputs, "inputs", copied)
    try:
        with torch.no_grad():
            output = copied(fields[:1])
    except Exception as error:  # whatever a user's forward raises
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise CaseError(
            f"{type(module).__name__} cannot take inputs of shape {tuple(fields.shape)}: {words}"
        ) from error
    if not isinstance(output, Tensor):
        raise CaseError(f"{type(module).__name__} gives a {type(output).__name__}, not a tensor")
    return copied, fields, output


def _is_square(fields: Tensor) -> bool:
    return fields.shape[-1] == fields.shape[-2]


def _as_tensor(values: Arrays, what: str, module: nn.Module) -> Tensor:
    """Samples in the module's precision. CaseError unless they are (sample, channel, y, x)."""
    # A copy of its own: of numpy's strides and of torch's inference mode it has nothing.
    tensor = torch.tensor(numbers(values, what).copy())
    if tensor.dim() != 4 or not tensor.numel():
        raise CaseError(f"{what} have shape {tuple(tensor.shape)}; give (sample, channel, y, x)")
    if not torch.isfinite(tensor).all():
        raise CaseError(f"{what} have values that are not finite")
    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return tensor.to(precision)


def _chosen(
    module: nn.Module, layers: Sequence[str] | None, inputs: Tensor
) -> tuple[dict[str, nn.Module], Mapping[str, str]]:
    """Full name -> submodule, in the order in which a forward pass meets them; and what is left out
    -> why. Raises CaseError."""
    if not any(parameter.requires_grad for parameter in module.parameters()):
        module.requires_grad_()  # frozen for use, not layer by layer
    one = inputs[:1]
    if isinstance(layers, str) or not isinstance(layers, Iterable | None):
        raise CaseError(f"layers = {layers!r}: give a list of names, or None")
    if layers is None:
        chosen = find_layers(module, one)
    else:
        chosen = named_layers(module, one, {name: name for name in layers}, "layers")
    paths = {part: path for path, part in module.named_modules()}
    found = {paths[layer]: layer for layer in chosen.layers.values()}
    if not found:
        raise CaseError(
            f"a forward pass of {type(module).__name__} meets no convolution and no linear layer; "
            "name what is to be re-trained in layers"
        )
    met = dict.fromkeys(call.name for call in _layered(module, found).recorded(one))
    return {name: found[name] for name in met}, chosen.left_out
