"""Settings of the analysis. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from eddyscope.config.case import Section

__all__ = ["AnalysisSettings"]


class AnalysisSettings(Section):
    """`[analysis]`: spectra of kernels and activations."""

    samples: int = Field(default=8, ge=1)
    """Test samples of each system over which activation spectra are averaged."""
