"""The Flow protocol, and the glossary of the whole project.

    ∂ω/∂t + J(ω, ψ) = ν∇²ω − rω − f − βv (+ Π in LES),   ∇²ψ = −ω,
    u = ∂ψ/∂y,  v = −∂ψ/∂x,  J = u·∇ω,  ν = 1/Re,  box 2π × 2π

    ω  vorticity            ψ  streamfunction      u, v  velocity along x, y
    ν  viscosity            r  linear drag         f  forcing    β  gradient of rotation
    E  energy, mean |u|²/2  Z  enstrophy, mean ω²/2
    Π  subgrid term J(ω̄, ψ̄) − bar J(ω, ψ), what filtering adds to the LES

Arrays have axes (member, layer, y, x); `_hat` is spectral, (member, layer, kx, ky).

A flow may have several layers. ω is then what each layer carries along (of quasi-geostrophic
layers, their potential vorticity), and what couples them is the flow's alone: ψ of ω
(`streamfunction`), the energy as a quadratic form (`energy_weights`), and linear terms across
layers, which are part of `advection`: they are their own filtered selves, so Π has none of them.

For example, two quasi-geostrophic layers of depths H1 and H2, δ = H1/H2, have for each k
k²ψ_l + F_l (ψ_l − ψ_l') = ω_l with F1 = kd²/(1 + δ), F2 = δ F1: so ψ = S(k) ω with a 2 × 2 inverse
S. Their energy ½ mean[δ1 |u_1|² + δ2 |u_2|² + kd² δ1 δ2 (ψ_1 − ψ_2)²], with δ1 = δ/(1 + δ) and
δ2 = 1/(1 + δ), is ½ Σ_l δ_l ω_l* ψ_l, since δ1 F1 = δ2 F2 = kd² δ1 δ2: so `layer_weights` are δ_l
and M_ll' = δ_l S_ll', symmetric and a function of k² alone. Viscosity is `damping`; the mean shear,
its gradients of potential vorticity and the lower layer's drag on ∇²ψ_2 are linear terms across
layers. What such terms give and take of energy is in none of the budgets that are recorded: these
know forcing, `damping` and `drag`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from eddyscope.config.arrays import ComplexArray, FloatArray, RealArray
from eddyscope.config.case import Section
from eddyscope.spectral.transform import Transform

__all__ = ["Flow", "FlowSettings", "Response", "Traits"]

Response = Callable[[RealArray, RealArray], FloatArray]
"""(kx, ky) -> what each mode of a forcing is multiplied by: the filter, in LES. Broadcasts to
(1, layer, kx, ky)."""


class FlowSettings(Section):
    """What the settings of all flows have; each adds `kind`, a Literal of its name."""

    kind: str

    @property
    def words(self) -> str:
        """The flow in half a sentence, as people write it: what is not zero in its equation."""
        return f"`{self.kind}`"

    @property
    def stirred_at(self) -> float | None:
        """The wavenumber of its forcing; None where it has none."""
        return None


@dataclass(frozen=True)
class Traits:
    """What is known of a flow from its settings alone: its size in memory, its smallest scales."""

    factors: int
    """Real numbers a mode that it keeps: rates, the inverse of the Laplacian, …"""
    viscosity: float | None = None
    """ν of the term ν∇²ω, which ends the enstrophy cascade; None where something else does."""
    layers: int = 1
    energy_pairs: int = 1
    """Pairs of layers that `energy_weights` gives."""
    different_rates: int = 1
    """Layers that `damping`, `drag` and `dispersion` tell apart: 1 where all have the same."""
    has_waves: bool = False
    """Whether it has a `dispersion`."""
    has_kicks: bool = False
    """Whether it has a `kick_work`."""


class Flow(Protocol):
    """What evolves. Schemes, filters and diagnostics know a flow by these members only."""

    layers: int
    """Layers of the state, known of the class: a transform is made for so many."""
    layer_weights: tuple[float, ...]
    """δ_l, what each layer counts in domain means: Z = Σ_l δ_l · mean of ω_l²/2."""
    transform: Transform
    damping: RealArray
    """Viscous rate νk² (and hyperviscous) of each mode, shape (1, 1 or layer, kx, ky);
    Crank–Nicolson in `ab2cn`."""
    drag: RealArray
    """Rate of drag and large-scale friction, likewise; implicit Euler in `ab2cn`."""
    dispersion: RealArray | None
    """Frequency of each mode's linear waves, ∂ω̂/∂t = i · dispersion · ω̂, likewise; None without
    waves."""

    def advection(self, omega_hat: ComplexArray, out: ComplexArray) -> ComplexArray:
        """J(ω, ψ) of the modes kept, dealiased, and linear terms across layers; without the
        linear terms above. Gives `out`. Collective."""

    def add_forcing(
        self, out: ComplexArray, time: float, step: int, factor: RealArray | float
    ) -> None:
        """out += factor · f̂, f with its sign as above; factor broadcasts to (1, layer, kx, ky)."""

    def kick(self, omega_hat: ComplexArray, step: int, dt: float) -> None:
        """Add the step's part of a forcing that is white in time. Not collective."""

    @property
    def kick_work(self) -> FloatArray | None:
        """Σ of ½|ω̂|² that kicks have added to each coefficient since the run left its last mark,
        `spectral_shape`; None without kicks. Part of the state of a run: the loop sets it to zero
        as it leaves a mark, and who records it there only looks. A kick's energy is taken to be
        M_ll times it, so a flow with coupled layers has none."""

    def decay_rate(self, k: float) -> float:
        """Rate at which viscosity and drag damp a mode of wavenumber k."""

    def streamfunction(self, omega_hat: ComplexArray, out: ComplexArray) -> ComplexArray:
        """ψ of ω. Gives `out`. Not collective."""

    def energy_weights(self, k2: FloatArray) -> Mapping[tuple[int, int], FloatArray]:
        """(l, l') -> M_ll' of wavenumbers k², so that E = ½ Σ_k Σ_ll' ω̂_l* M_ll' ω̂_l'.

        Symmetric; pairs of layers that do not couple are left out.
        """

    def max_velocity(self) -> FloatArray:
        """max(|u| + |v|) of each local member on this rank, of the state last given to
        `advection`; shape (member,). Valid until `advection` is called again."""

    def on(self, transform: Transform) -> Flow:
        """The same equation, with its forcing, on another grid. CaseError if that grid does
        not resolve the forcing."""

    def unforced(self, transform: Transform) -> Flow:
        """The same equation without its forcing, on another grid."""
