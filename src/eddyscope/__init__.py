"""eddyscope: which layers of a turbulence closure to re-train, and what physics they learn."""
