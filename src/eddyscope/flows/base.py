"""The Flow protocol, and the glossary of the whole project.

    ∂ω/∂t + J(ω, ψ) = ν∇²ω − rω − f − βv (+ Π in LES),   ∇²ψ = −ω,
    u = ∂ψ/∂y,  v = −∂ψ/∂x,  J = u·∇ω,  ν = 1/Re,  box 2π × 2π

    ω  vorticity            ψ  streamfunction      u, v  velocity along x, y
    ν  viscosity            r  linear drag         f  forcing    β  gradient of rotation
    E  energy, mean |u|²/2  Z  enstrophy, mean ω²/2
    Π  subgrid term J(ω̄, ψ̄) − bar J(ω, ψ), what filtering adds to the LES

Arrays have axes (member, layer, y, x); `_hat` is spectral.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from eddyscope.spectral.transform import Transform

__all__ = ["Flow"]


class Flow(Protocol):
    """What evolves. Steppers, filters and diagnostics know a flow by these members only."""

    transform: Transform
    damping: NDArray[Any]
    """Viscous rate νk² (and hyperviscous) of each mode; Crank–Nicolson in `ab2cn`."""
    drag: NDArray[Any]
    """Rate of drag and large-scale friction of each mode; implicit Euler in `ab2cn`."""
    dispersion: NDArray[Any] | None
    """Frequency of each mode's linear waves, ∂ω̂/∂t = i · dispersion · ω̂; None without waves."""

    def advection(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        """J(ω, ψ) of the modes kept, dealiased; without the linear terms. Collective."""

    def add_forcing(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """out += factor · f̂, f with its sign as above; factor broadcasts to (1, 1, kx, ky)."""

    def kick(self, omega_hat: NDArray[Any], step: int, dt: float) -> None:
        """Add the step's part of a forcing that is white in time. Not collective."""

    @property
    def kick_work(self) -> NDArray[Any] | None:
        """Enstrophy that kicks have added to each coefficient since it was last set to zero,
        float64, `spectral_shape`; None without kicks. Part of the state of a run."""

    def decay_rate(self, k: float) -> float:
        """Rate at which viscosity and drag damp a mode of wavenumber k."""

    def streamfunction(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        """ψ of ω."""

    def max_velocity(self) -> NDArray[Any]:
        """max(|u| + |v|) of each local member on this rank, of the state last given to
        `advection`; shape (member,). Valid until `advection` is called again."""

    def on(self, transform: Transform) -> Flow:
        """The same equation, with its forcing, on another grid. CaseError if that grid does
        not resolve the forcing."""

    def unforced(self, transform: Transform) -> Flow:
        """The same equation without its forcing, on another grid."""
